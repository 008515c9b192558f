package p2p

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// scoreParams makes GossipSub turn away from peers that send what is invalid. After a few such
// messages a peer is not listened to until they are forgotten. Nothing else is held against a peer,
// since nodes on slow lines are honest too. Configured peers start with a credit.
func scoreParams(n *Network) (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	topic := func() *pubsub.TopicScoreParams {
		return &pubsub.TopicScoreParams{
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second, // divided by, although its weight is zero
			InvalidMessageDeliveriesWeight: -10,
			InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(time.Hour),
		}
	}
	network := n.genesis.Network().String()
	return &pubsub.PeerScoreParams{
			SkipAtomicValidation: true,
			AppSpecificScore: func(p peer.ID) float64 {
				if n.configure[p] {
					return 10
				}
				return 0
			},
			AppSpecificWeight: 1,
			DecayInterval:     time.Second,
			DecayToZero:       0.01,
			RetainScore:       time.Hour,
			Topics: map[string]*pubsub.TopicScoreParams{
				"/pyvnode/entries/1/" + network:  topic(),
				"/pyvnode/evidence/1/" + network: topic(),
			},
		}, &pubsub.PeerScoreThresholds{
			SkipAtomicValidation: true,
			GossipThreshold:      -50,
			PublishThreshold:     -100,
			GraylistThreshold:    -200,
		}
}

// gossipParams are GossipSub's defaults but for two things, by which eight nodes on one machine
// spend a third less on a message. A node forwards to four others instead of six. It tells them
// that it has a message already only if that is shorter than to send the message twice. What gets
// lost that way, comparing frontiers brings.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 4, 3, 6, 3, 1
	p.IDontWantMessageThreshold = 16 << 10
	return p
}
