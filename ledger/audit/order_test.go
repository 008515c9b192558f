package audit

import (
	"cmp"
	"fmt"
	"testing"
	"time"
)

// TestNaturally puts places of findings in order as people count.
func TestNaturally(t *testing.T) {
	t.Parallel()
	sorted := []string{"", "byte 2", "byte 10", "line 1", "line 2", "line 2 a", "line 10", "line 18446744073709551616", "line 18446744073709551617", "x"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := naturally(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%q and %q: %d, want %d", a, b, got, cmp.Compare(i, j))
			}
		}
	}
	r := new(Report)
	for _, line := range []int{10, 2, 1} {
		r.where(fmt.Sprintf("line %d", line), ReasonFile, "x")
	}
	r.finish(time.Now())
	if r.Findings[0].Where != "line 1" || r.Findings[1].Where != "line 2" || r.Findings[2].Where != "line 10" {
		t.Errorf("%v", r.Findings)
	}
}
