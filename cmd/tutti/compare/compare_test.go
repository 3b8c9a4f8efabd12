package compare

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/cmd/tutti/measure"
	"tutti/cmd/tutti/setup"
)

func small(dir string) Options {
	return Options{
		Proposers: 4, Command: "tutti bench compare", Validators: 10,
		Simulation: measure.Simulation{Slots: 40, Load: 20, Seed: 1, Execute: time.Millisecond},
		Files:      measure.Files{JSON: filepath.Join(dir, "c.json"), HTML: filepath.Join(dir, "c.html")},
	}
}

// TestCompare: both designs carry the same load; the one that votes before
// executing confirms sooner when execution takes time.
func TestCompare(t *testing.T) {
	o := small(t.TempDir())
	var out strings.Builder
	if err := Run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| confirmed |", "| Sydney |", "| skipped slots |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	b, err := os.ReadFile(o.Files.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes [2]Outcome
	if err := json.Unmarshal(b, &outcomes); err != nil {
		t.Fatal(err)
	}
	for i := range outcomes {
		for _, c := range outcomes[i].World.Cities {
			if c.Landed == 0 || c.Landed != c.Submitted {
				t.Errorf("%s, %s: %d of %d landed", outcomes[i].Design, c.Name, c.Landed, c.Submitted)
			}
		}
	}
	many, alone := outcomes[0].World, outcomes[1].World
	if many.Bytes <= alone.Bytes {
		t.Errorf("many proposers sent %d bytes, the leader alone %d", many.Bytes, alone.Bytes)
	}
	if info, err := os.Stat(o.Files.HTML); err != nil || info.Size() < 10_000 {
		t.Errorf("HTML: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"0 proposers":         func(o *Options) { o.Proposers = 0 },
		"--slots 1":           func(o *Options) { o.Simulation.Slots = 1 },
		"--load 0":            func(o *Options) { o.Simulation.Load = 0 },
		"--local-duration 1s": func(o *Options) { o.Local, o.Devnet.Duration = true, time.Second },
		"no directory":        func(o *Options) { o.Files.HTML = "/nowhere/at/all.html" },
		"5000 validators":     func(o *Options) { o.Validators = 5000 },
	} {
		o := small(t.TempDir())
		change(&o)
		err := Run(t.Context(), o, io.Discard, io.Discard)
		var wrong *setup.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
