package dataroot

import (
	"context"

	"pyvnode/legacy"
)

// Older returns the places of the records that newer ones replace, as reading in a number of parts finds them.
func (c *Chain) Older(ctx context.Context, parts int) (map[int64]bool, error) {
	k, err := c.keysOf(ctx, parts)
	return k.older, err
}

// SetEffort sets how many bytes of damage are looked through.
func (r *Root) SetEffort(bytes int64) { r.effort = legacy.NewEffort(bytes) }
