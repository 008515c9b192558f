package store

import (
	"cmp"
	"context"

	"pyvnode/ledger"
)

// Bounds of one batch of a range, which callers of [Pipeline.Add] keep to.
const (
	RangeEntries = 256
	RangeBytes   = 1 << 20
)

const (
	pipelineAhead  = 3  // batches that are checked ahead of the one that is being stored
	pipelineWindow = 16 // batches on their way to the disk
)

// Pipeline takes ranges of foreign entries with several batches under way at once: while one becomes durable, the next
// are checked. Each batch is taken by hashing, all or none, as [Store.IngestRange] takes it. A Pipeline belongs to one
// goroutine.
type Pipeline struct {
	s       *Store
	ctx     context.Context
	hops    uint32
	settled func(Result)
	ahead   []chan preparedBatch
	window  []Pending
	total   Result
	err     error
}

type preparedBatch struct {
	prepared *Prepared
	err      error
}

// NewPipeline starts a pipeline for entries that were sent on a number of times. Settled, if not nil, is called from Add
// and Close with what became of each batch.
func (s *Store) NewPipeline(ctx context.Context, hops uint32, settled func(Result)) *Pipeline {
	return &Pipeline{s: s, ctx: ctx, hops: hops, settled: settled}
}

// Add sends a batch on its way, and waits while too many are. The entries are kept and must not be
// changed. The error is that of this batch or an earlier one; batches after it are refused with the
// same error.
func (p *Pipeline) Add(batch []*ledger.Entry) error {
	return p.add(func() (*Prepared, error) { return p.s.Prepare(batch, LastSignature) })
}

// AddDisputed is Add for disputed entries, which are taken as by [Store.IngestDisputed]: those before a bad one too.
func (p *Pipeline) AddDisputed(batch []*ledger.Entry) error {
	return p.add(func() (*Prepared, error) { return p.s.prepareDisputed(batch) })
}

func (p *Pipeline) add(prepare func() (*Prepared, error)) error {
	if p.err != nil {
		return p.err
	}
	future := make(chan preparedBatch, 1)
	go func() {
		prepared, err := prepare()
		future <- preparedBatch{prepared, err}
	}()
	p.ahead = append(p.ahead, future)
	p.submit(pipelineAhead)
	p.settle(pipelineWindow)
	return p.err
}

// Close waits until all batches are durable or refused, and returns what became of them and the first error.
func (p *Pipeline) Close() (Result, error) {
	p.submit(0)
	p.settle(0)
	return p.total, p.err
}

// submit sends batches to the builder until at most keep are still being checked.
func (p *Pipeline) submit(keep int) {
	for len(p.ahead) > keep {
		b := <-p.ahead[0]
		p.ahead = p.ahead[1:]
		if p.err != nil {
			continue
		}
		var pending Pending
		if b.err == nil {
			b.prepared.SetHops(p.hops)
			pending, b.err = p.s.SubmitPrepared(p.ctx, b.prepared)
		}
		if b.err != nil {
			p.settle(0) // what went before may have an error of its own, which is then the first
			p.err = cmp.Or(p.err, b.err)
			continue
		}
		p.window = append(p.window, pending)
		p.settle(pipelineWindow)
	}
}

// settle waits until at most keep batches are on their way. It does not give up when the context ends: the outcome of
// what is on its way must be known.
func (p *Pipeline) settle(keep int) {
	for len(p.window) > keep {
		result, err := p.window[0].Wait(context.WithoutCancel(p.ctx))
		p.window = p.window[1:]
		p.total.Joined += result.Joined
		p.total.Held += result.Held
		if p.settled != nil {
			p.settled(result)
		}
		if p.err == nil {
			p.err = err
		}
	}
}
