// Package tidy holds the rules of the code base that a test can check.
package tidy

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers lists the packages from the bottom up. A package imports packages of
// lower layers, or below its own folder; never one beside or above it.
var layers = [][]string{
	{"ledger"},
	{"ledger/sigverify"},
	{"cluster"},
	{"poh", "shred", "bank", "consensus"},
	{"turbine", "repair"},
	{"proposer", "leader", "validator"},
	{"node"},
	{"invariant"},
	{"live", "sim"},
	{"rpc"},
	{"cmd"},
}

// pure packages decide and do nothing: no goroutine, clock, socket, disk or
// logger. The exceptions are named with their reason.
var impure = []string{"live", "sim", "rpc", "cmd", "internal"}

var forbidden = []string{"os", "net", "sync", "sync/atomic", "log", "log/slog", "go.uber.org/zap", "math/rand", "crypto/rand"}

var exceptions = map[string][]string{
	// The executor's workers start and end within one call; views are read by
	// any goroutine while the state advances.
	"bank": {"sync", "sync/atomic"},
	// Encoders are made once and shared.
	"shred": {"sync"},
}

func layer(pkg string) int {
	best, at := -1, -1
	for i, l := range layers {
		for _, p := range l {
			if (pkg == p || strings.HasPrefix(pkg, p+"/")) && len(p) > best {
				best, at = len(p), i
			}
		}
	}
	return at
}

type file struct {
	path, pkg string
	imports   []string
	source    []byte
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		source, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		x := file{path: rel, pkg: path.Dir(filepath.ToSlash(rel)), source: source}
		for _, i := range f.Imports {
			s, _ := strconv.Unquote(i.Path.Value)
			x.imports = append(x.imports, s)
		}
		out = append(out, x)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found")
	}
	return out
}

// tools are packages that all layers may import: they import nothing of ours.
var tools = []string{
	"internal/churn",
	"internal/planted", // a constant, but for the builds of `make bugs`
}

// TestLayers keeps imports pointing down.
func TestLayers(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "_test.go") || strings.HasPrefix(f.pkg, "internal") {
			continue
		}
		own := layer(f.pkg)
		if own < 0 {
			t.Errorf("%s: package %s has no layer", f.path, f.pkg)
			continue
		}
		for _, i := range f.imports {
			pkg, ok := strings.CutPrefix(i, "tutti/")
			if !ok || slices.Contains(tools, pkg) {
				continue
			}
			sameTree := strings.Split(pkg, "/")[0] == strings.Split(f.pkg, "/")[0]
			if to := layer(pkg); to < 0 || to > own || to == own && !sameTree {
				t.Errorf("%s: %s may not import %s", f.path, f.pkg, pkg)
			}
		}
	}
}

// TestPure keeps clock, goroutines, sockets and disk out of the core.
func TestPure(t *testing.T) {
	for _, f := range files(t) {
		top := strings.Split(f.pkg, "/")[0]
		if strings.HasSuffix(f.path, "_test.go") || slices.Contains(impure, top) {
			continue
		}
		for _, i := range f.imports {
			if slices.Contains(forbidden, i) && !slices.Contains(exceptions[f.pkg], i) {
				t.Errorf("%s: a pure package imports %s", f.path, i)
			}
		}
		for n, line := range strings.Split(string(f.source), "\n") {
			code, _, _ := strings.Cut(strings.TrimSpace(line), "//")
			if strings.Contains(code, "time.Now(") || strings.Contains(code, "time.Sleep(") ||
				strings.HasPrefix(code, "go ") && f.pkg != "bank" {
				t.Errorf("%s:%d: a pure package uses the clock or a goroutine: %s", f.path, n+1, code)
			}
		}
	}
}

// TestEdges keeps each library of the outside world behind one package.
func TestEdges(t *testing.T) {
	homes := map[string][]string{
		"github.com/quic-go/quic-go":        {"live", "cmd"},
		"github.com/dgraph-io/badger/v4":    {"live"},
		"github.com/gagliardetto/solana-go": {"rpc", "cmd"},
	}
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, i := range f.imports {
			for lib, tops := range homes {
				if (i == lib || strings.HasPrefix(i, lib+"/")) && !slices.Contains(tops, strings.Split(f.pkg, "/")[0]) {
					t.Errorf("%s: %s imports %s", f.path, f.pkg, i)
				}
			}
			if strings.Contains(i, "quic-go/http3") {
				t.Errorf("%s: http3 is not used here", f.path)
			}
		}
	}
}

// decoder is a function that reads bytes from outside: one that can refuse
// them.
var decoder = regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?((?:Parse|Decode)\w*)\(\w+ \[\]byte[^)]*\) \([^)]*(?:error|bool)\) {`)

// TestFuzzed names decoders that no fuzz target of their package calls.
func TestFuzzed(t *testing.T) {
	fuzzed := make(map[string]string) // source of the test files with targets
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "_test.go") && bytes.Contains(f.source, []byte("\nfunc Fuzz")) {
			fuzzed[f.pkg] += string(f.source)
		}
	}
	found := 0
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, m := range decoder.FindAllSubmatch(f.source, -1) {
			found++
			if !strings.Contains(fuzzed[f.pkg], string(m[1])+"(") {
				t.Errorf("%s: %s decodes bytes and has no fuzz target", f.path, m[1])
			}
		}
	}
	for _, pkg := range []string{"turbine", "validator", "rpc", "live/endpoint", "live/store", "bank"} {
		if found++; fuzzed[pkg] == "" {
			t.Errorf("package %s takes bytes from outside and has no fuzz target", pkg)
		}
	}
	if found < 24 {
		t.Errorf("%d decoders found: the search is broken", found)
	}
}

// TestDocumented keeps a package comment on every package.
func TestDocumented(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "tutti/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if pkg, doc, _ := strings.Cut(line, "\t"); doc == "" && pkg != "tutti/internal/tidy" {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
