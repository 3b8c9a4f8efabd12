package planted_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tutti/internal/planted"
)

// TestNothingPlanted: the compiler leaves all bugs out of a build without the
// tag, so that not even their names are in it.
func TestNothingPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("links the binary twice")
	}
	has := func(tags string) bool {
		path := filepath.Join(t.TempDir(), "tutti")
		if out, err := exec.Command("go", "build", "-tags", tags, "-o", path, "tutti/cmd/tutti").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		binary, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(binary, []byte(planted.SwitchThreshold))
	}
	if has("") {
		t.Error("a bug is in a build without the tag planted")
	}
	if !has("planted") {
		t.Error("a bug is not in a build with the tag planted")
	}
}
