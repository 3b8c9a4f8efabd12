package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName    = regexp.MustCompile(`\bTest[A-Z]\w*`)
	testFunc    = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	citation    = regexp.MustCompile(`\b(PROTOCOL|FORMATS)\s+(?://\s*)?section\s+(?://\s*)?(\d+)`)
	transcript  = regexp.MustCompile(`\b\w+/testdata/transcripts/\w+`)
	heading     = regexp.MustCompile(`(?m)^## (\d+)\. `)
	relative    = regexp.MustCompile(`\]\(([^):]+)\)`)
	citedPages  = map[string]string{"PROTOCOL": "protocol.md", "FORMATS": "formats.md"}
	simdSources = []string{"Overview", "Fork Choice", "UserBlock execution", "BankHash", "Client Confirmations", "Security Considerations"}
)

func page(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSIMDTable: every test that the table of the SIMD names exists, no row is
// without one, and no section of the SIMD is left out.
func TestSIMDTable(t *testing.T) {
	have := make(map[string]bool)
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			for _, m := range testFunc.FindAllSubmatch(f.source, -1) {
				have[string(m[1])] = true
			}
		}
	}
	for _, name := range []string{"simd-0023.md", "vectors.md", "transcripts.md"} {
		for _, test := range testName.FindAllString(page(t, "docs", name), -1) {
			if test != "TestVectors" && !have[test] { // a prefix, not a name
				t.Errorf("docs/%s names %s, which does not exist", name, test)
			}
		}
	}
	table := page(t, "docs", "simd-0023.md")
	for _, section := range simdSources {
		if !strings.Contains(table, "\n## "+section+"\n") {
			t.Errorf("docs/simd-0023.md has no section %q", section)
		}
	}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| \"") && !testName.MatchString(line) {
			t.Errorf("docs/simd-0023.md names no test in: %s", line)
		}
	}
}

// TestTranscriptsTable: every row of the table of decisions names a test or a
// transcript, every transcript that it names exists, and none is left out.
func TestTranscriptsTable(t *testing.T) {
	table := page(t, "docs", "transcripts.md")
	named := make(map[string]bool)
	for _, m := range transcript.FindAllString(table, -1) {
		named[m] = true
		if _, err := os.Stat(filepath.Join("..", "..", m)); err != nil {
			t.Errorf("docs/transcripts.md: %v", err)
		}
	}
	for line := range strings.Lines(table) {
		row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| decision")
		if row && !testName.MatchString(line) && !transcript.MatchString(line) {
			t.Errorf("docs/transcripts.md names no test in: %s", line)
		}
	}
	found, err := filepath.Glob(filepath.Join("..", "..", "*", "testdata", "transcripts", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if rel, _ := filepath.Rel(filepath.Join("..", ".."), f); !named[filepath.ToSlash(rel)] {
			t.Errorf("docs/transcripts.md does not name %s", rel)
		}
	}
}

// TestCitations: the sections that comments cite stand on the pages that
// carry them.
func TestCitations(t *testing.T) {
	have := make(map[string]bool)
	for source, name := range citedPages {
		for _, m := range heading.FindAllStringSubmatch(page(t, "docs", name), -1) {
			have[source+" "+m[1]] = true
		}
	}
	for _, f := range files(t) {
		for _, m := range citation.FindAllSubmatch(f.source, -1) {
			if cited := string(m[1]) + " " + string(m[2]); !have[cited] {
				t.Errorf("%s cites %s, and no page has it", f.path, cited)
			}
		}
	}
}

// TestLinks: what a page links to in this repository is there.
func TestLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md")) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range relative.FindAllSubmatch(b, -1) {
			to, _, _ := strings.Cut(string(m[1]), "#")
			if _, err := os.Stat(filepath.Join(filepath.Dir(p), to)); err != nil {
				t.Errorf("%s links to %s: %v", p, to, err)
			}
		}
	}
}
