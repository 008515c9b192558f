package durable

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	var wg sync.WaitGroup
	inside := 0 // the race detector would see two inside
	for range 8 {
		wg.Go(func() {
			for range 10 {
				unlock, err := Lock(context.Background(), file)
				if err != nil {
					t.Error(err)
					return
				}
				if inside++; inside != 1 {
					t.Errorf("%d hold the lock", inside)
				}
				inside--
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := Lock(t.Context(), filepath.Join(file+".missing", "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}

// TestLockPatience waits for a lock that stays held, up to a limit and as long as the caller.
func TestLockPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lock")
		unlock, err := Lock(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := Lock(t.Context(), file); !errors.Is(err, ErrLocked) || time.Since(start) != lockPatience {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := Lock(ctx, file); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}
