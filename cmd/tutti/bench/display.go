package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"

	"tutti/cmd/tutti/load"
)

// display shows how far a benchmark is: a bar on a terminal, else a line for
// each step.
type display struct {
	out   io.Writer
	steps []load.Step
	share load.Share
	bar   *progressbar.ProgressBar // nil without a terminal
}

func newDisplay(out io.Writer, steps []load.Step, share load.Share) *display {
	d := &display{out: out, steps: steps, share: share}
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		d.bar = progressbar.NewOptions64(int64(steps[len(steps)-1].End()/time.Millisecond),
			progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24), progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))
	}
	return d
}

// follow shows progress from the start until ctx is done; the channel is
// closed then.
func (d *display) follow(ctx context.Context, start time.Time, m meter) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		step, before := -1, uint64(0)
		for {
			after := time.Since(start)
			for step+1 < len(d.steps) && d.steps[step+1].Start <= after {
				step++
				if d.bar == nil {
					fmt.Fprintf(d.out, "step %s\n", d.name(step))
				}
			}
			landed, lag := m.progress()
			if d.bar != nil && step >= 0 {
				d.bar.Describe(fmt.Sprintf("step %s | landed %d/s%s", d.name(step), landed-min(before, landed), lagText(lag)))
				_ = d.bar.Set64(int64(min(after, d.steps[len(d.steps)-1].End()) / time.Millisecond)) // it is only shown
			}
			before = landed
			if !load.Sleep(ctx, time.Second) {
				break
			}
		}
		if d.bar != nil {
			_ = d.bar.Finish()
		}
	}()
	return done
}

// name says which step it is, and at what rate.
func (d *display) name(k int) string {
	text := fmt.Sprintf("%d/%d, %d/s", k+1, len(d.steps), d.steps[k].Rate)
	if d.share.Of > 1 {
		text += fmt.Sprintf(", part %d/%d", d.share.Index+1, d.share.Of)
	}
	return text
}

func lagText(lag int) string {
	if lag < 0 {
		return ""
	}
	return fmt.Sprintf(" | lag %d", lag)
}
