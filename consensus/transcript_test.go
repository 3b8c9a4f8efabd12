package consensus

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts runs the files in testdata/transcripts. "scene" starts
// anew with the stakes of one epoch, or a line for each epoch of 32 slots; "do" performs
// commands, one a line, and answers each with one.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var s *scene
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "scene":
				s = newScene(strings.Split(strings.TrimSpace(d.Input), "\n")...)
				return "ok\n"
			case "do":
				return s.run(t, d.Input)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}
