package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pyvnode/node"
	"pyvnode/p2p"
)

func newStatusCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how the running node is",
		Long: `Says how the node that runs on the data directory is: who it is, where it listens, what it holds, how many neighbours
agree with it, and whether it writes.`,
		Example: `  pyvnode status`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.running(cmd.Context(), func(c *node.Client) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.stdout, s)
				}
				return a.buffered(func(w io.Writer) error { return pairs(w, statusRows(s, time.Now())...) })
			})
		},
	}
}

func statusRows(s *node.NodeStatus, now time.Time) [][2]string {
	rows := [][2]string{
		{"node", s.ID.String()},
		{"network", fmt.Sprintf("%s (%s)", s.Name, s.Network)},
	}
	rows = append(rows, statusAddresses(*s)...)
	rows = append(rows,
		[2]string{"version", s.Version},
		[2]string{"running", fmt.Sprintf("%v, since %s, process %d", now.Sub(s.Started).Round(time.Second), utc(s.Started), s.Process)},
		[2]string{"entries", fmt.Sprintf("%d in %s", s.Entries, plural(uint64(s.Logs), "log", "logs"))},
		[2]string{"digest", s.Digest.String()},
		[2]string{"peers", peersText(s)},
	)
	if s.Frozen > 0 {
		rows = append(rows, [2]string{"frozen", plural(uint64(s.Frozen), "log", "logs") + ", because there is evidence against their origins"})
	}
	if s.Syncing != nil {
		rows = append(rows, [2]string{"fetching", fmt.Sprintf("%d of %s, from %s", s.Syncing.Done, plural(s.Syncing.Total, "entry", "entries"), s.Syncing.Peer)})
	}
	if s.Parked > 0 {
		rows = append(rows, [2]string{"parked", fmt.Sprintf("%s (%d bytes) that wait for others", plural(uint64(s.Parked), "entry", "entries"), s.ParkedBytes)})
	}
	if s.Unverified > 0 {
		rows = append(rows, [2]string{"unverified", plural(s.Unverified, "signature", "signatures") + " still to be checked"})
	}
	signing := string(s.Signing)
	switch {
	case strings.HasPrefix(s.SigningWhy, signing+" "): // "waiting for …"
		signing = s.SigningWhy
	case s.SigningWhy != "":
		signing += ": " + s.SigningWhy
	}
	rows = append(rows, [2]string{"writing", signing})
	if s.Twin != "" {
		rows = append(rows, [2]string{"same key", fmt.Sprintf("%s says that another node runs with this node's key. Stop one of them before both write: "+
			"two nodes with one key sign two histories", s.Twin)})
	}
	if s.Stopped != "" {
		rows = append(rows, [2]string{"disk", printable(s.Stopped)})
	}
	if r := s.Recovery; r != nil {
		how := "in order"
		if r.Unclean {
			how = fmt.Sprintf("not in order; %s checked at the start", plural(uint64(r.Checked), "entry", "entries"))
		}
		rows = append(rows, [2]string{"last stop", how})
	}
	return rows
}

func peersText(s *node.NodeStatus) string {
	text := "none"
	if s.Peers > 0 {
		text = fmt.Sprintf("%d connected, %d of them with the same", s.Peers, s.Agreeing)
	}
	if s.Absent > 0 {
		text += fmt.Sprintf("; %d configured, not connected: see pyvnode peers", s.Absent)
	}
	return text
}

func newPeersCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "List the running node's neighbours",
		Long: `Lists the nodes that the running node is connected to, configured ones first. SAME says whether a neighbour held the
same when it last said what it holds. Configured peers that are not connected are listed too, with why the last attempt
failed.`,
		Example: `  pyvnode peers`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.running(cmd.Context(), func(c *node.Client) error {
				peers, err := c.Peers(cmd.Context())
				if err != nil {
					return err
				}
				return a.buffered(func(w io.Writer) error { return a.printPeers(w, peers, time.Now()) })
			})
		},
	}
}

func (a *app) printPeers(w io.Writer, peers []p2p.PeerStatus, now time.Time) error {
	if a.json() {
		return eachJSON(w, peers)
	}
	if len(peers) == 0 {
		return printLine(w, "none")
	}
	widths := []int{peerIDColumns, 4, 0}
	if err := columns(w, widths, "PEER", "SAME", "ENTRIES"); err != nil {
		return err
	}
	for _, p := range peers {
		same, entries := "-", "-"
		if p.Digest != nil {
			same = map[bool]string{true: "yes", false: "no"}[p.Agrees]
			entries = fmt.Sprint(p.Entries)
		}
		err := columns(w, widths, p.ID.String(), same, entries)
		for _, more := range peerLines(p, now) {
			err = errors.Join(err, indented(w, more))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// peerIDColumns is how long a peer ID is.
const peerIDColumns = 52

// peerLines says what does not stand in a peer's row.
func peerLines(p p2p.PeerStatus, now time.Time) (lines []string) {
	state := "not connected"
	if !p.Since.IsZero() {
		state = fmt.Sprintf("%s for %v", p.Direction, now.Sub(p.Since).Round(time.Second))
	}
	if p.Protected {
		state = "configured, " + state
	}
	if p.Latency > 0 {
		state += ", latency " + p.Latency.Round(100*time.Microsecond).String()
	}
	lines = append(lines, state)
	if p.Addr != "" {
		lines = append(lines, p.Addr)
	}
	if p.LastError != "" {
		lines = append(lines, "last error: "+p.LastError)
	}
	return lines
}

func newLinksCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "links",
		Short: "List the running node's replication links",
		Long: `Lists the peers to which the running node pushes every entry, see the setting "links": how many entries each has
acknowledged since the start, and how many it has not yet.`,
		Example: `  pyvnode links`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.running(cmd.Context(), func(c *node.Client) error {
				links, err := c.Links(cmd.Context())
				if err != nil {
					return err
				}
				return a.buffered(func(w io.Writer) error { return a.printLinks(w, links) })
			})
		},
	}
}

func (a *app) printLinks(w io.Writer, links []p2p.LinkStatus) error {
	if a.json() {
		return eachJSON(w, links)
	}
	if len(links) == 0 {
		return printLine(w, "none")
	}
	widths := []int{peerIDColumns, 12, 0}
	if err := columns(w, widths, "PEER", "SENT", "PENDING"); err != nil {
		return err
	}
	for _, l := range links {
		state := "connected"
		if !l.Connected {
			state = "not connected, next try " + utc(l.NextTry)
		}
		err := errors.Join(columns(w, widths, l.ID.String(), fmt.Sprint(l.Sent), fmt.Sprint(l.Pending)), indented(w, state))
		if l.LastError != "" {
			err = errors.Join(err, indented(w, "last error: "+l.LastError))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachJSON prints values, one per line.
func eachJSON[T any](w io.Writer, values []T) error {
	for _, v := range values {
		if err := printJSON(w, v); err != nil {
			return err
		}
	}
	return nil
}

func newLogLevelCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "loglevel [PART=LEVEL …]",
		Short: "Show or set what the running node logs",
		Long: `Shows the least level of what each part of the running node logs, or sets it until the node stops. LEVEL alone, without
PART=, is for all parts. Parts are ` + strings.Join(node.LogParts(), ", ") + `; levels are debug, info, warn, error.`,
		Example: `  pyvnode loglevel
  pyvnode loglevel p2p=debug store=warn`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.running(cmd.Context(), func(c *node.Client) error {
				var levels map[string]string
				var err error
				if len(args) == 0 {
					levels, err = c.Levels(cmd.Context())
				} else {
					levels, err = c.SetLevels(cmd.Context(), args...)
				}
				if err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.stdout, levels)
				}
				var rows [][2]string
				for _, part := range slices.Sorted(maps.Keys(levels)) {
					rows = append(rows, [2]string{part, levels[part]})
				}
				return pairs(a.stdout, rows...)
			})
		},
	}
}
