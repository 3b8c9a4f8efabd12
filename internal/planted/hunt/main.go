// Hunt tests the tests: it plants the bugs of package planted, each in processes
// of its own, and says which test and which promise of a simulation finds each.
// Its exit code is 1 if nothing finds one, or if a test or a run with one ends
// in a way that names neither test nor promise: what hangs, or does not even
// start, has found nothing. Run it in the repository's root, or as `make bugs`.
//
// Of the tests those of the wrong package run first, then those of all other
// packages, up to the first that fails. Of the simulations a short run without
// faults comes first, twice, with the same trace; then twenty seeds of the
// scenario twins, and seeds with faults. Before all that everything must pass without a bug.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// packages are those whose tests can find a bug, in the order in which they
// run; a bug's own comes first.
var packages = []string{
	"consensus", "bank", "poh", "shred", "turbine", "repair", "proposer", "leader", "validator", "node",
}

// tooLong is when the tests of a package or a run are taken for ones that hang.
const tooLong = 20 * time.Minute

func main() {
	var (
		only  = flag.String("only", "", "plant only the bugs whose names match this pattern")
		seeds = flag.String("seeds", "4,6,7", "seeds of the simulation with faults")
		jobs  = flag.Int("jobs", runtime.NumCPU(), "bugs that are planted at once, each in processes of its own")
	)
	flag.Parse()
	if err := run(os.Stdout, *only, strings.Split(*seeds, ","), *jobs); err != nil {
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	}
}

// bug is one that can be planted.
type bug struct{ name, what string }

// finding is what finds a bug, if anything does.
type finding struct {
	what string        // "–": all passed
	seed string        // of the simulation, and its kind
	took time.Duration // of a processor
	// unclear says that something failed, but names no test or promise: nothing
	// is found.
	unclear bool
}

func (f *finding) failed() bool { return f.what != "–" }

func (f *finding) found() bool { return f.failed() && !f.unclear }

func run(out io.Writer, only string, seeds []string, jobs int) error {
	if jobs < 1 {
		return fmt.Errorf("-jobs %d: use 1 or more", jobs)
	}
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	bugs, err := planted(filepath.Join("internal", "planted", "planted.go"))
	if err != nil {
		return err
	}
	bugs = slices.DeleteFunc(bugs, func(b bug) bool { return !pattern.MatchString(b.name) })
	dir, err := os.MkdirTemp("", "tutti-hunt")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := hunter{dir: dir, seeds: seeds}
	if err := h.build(); err != nil {
		return err
	}
	for _, f := range []finding{h.tests(bug{}), h.simulate(bug{})} {
		if f.failed() {
			return fmt.Errorf("without a bug: %s, seed %s", f.what, f.seed)
		}
	}
	fmt.Fprintln(out, "| bug | what is wrong | test | s | promise of the simulation | seed | s |\n|---|---|---|---|---|---|---|")
	found := make([]chan [2]finding, len(bugs))
	for i := range found {
		found[i] = make(chan [2]finding, 1)
	}
	var next atomic.Int64
	for range jobs {
		go func() {
			for i := next.Add(1) - 1; i < int64(len(bugs)); i = next.Add(1) - 1 {
				found[i] <- [2]finding{h.tests(bugs[i]), h.simulate(bugs[i])}
			}
		}()
	}
	var missed, unclear []string
	for i, b := range bugs {
		both := <-found[i]
		test, promise := &both[0], &both[1]
		fmt.Fprintf(out, "| `%s` | %s | %s | %.1f | %s | %s | %.1f |\n", b.name, b.what,
			test.what, test.took.Seconds(), promise.what, promise.seed, promise.took.Seconds())
		if !test.found() && !promise.found() {
			missed = append(missed, b.name)
		}
		if test.unclear || promise.unclear {
			unclear = append(unclear, b.name)
		}
	}
	if len(missed) > 0 {
		err = fmt.Errorf("nothing finds %s", strings.Join(missed, ", "))
	}
	if len(unclear) > 0 {
		err = errors.Join(err, fmt.Errorf("neither a test nor a promise is named with %s", strings.Join(unclear, ", ")))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d bugs planted, all found\n", len(bugs))
	return nil
}

// planted reads the bugs and what is wrong with each from their declarations.
func planted(path string) ([]bug, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var bugs []bug
	for _, d := range file.Decls {
		declared, ok := d.(*ast.GenDecl)
		if !ok || declared.Tok != token.CONST {
			continue
		}
		for _, s := range declared.Specs {
			c := s.(*ast.ValueSpec)
			name, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				return nil, err
			}
			bugs = append(bugs, bug{name, strings.Join(strings.Fields(c.Doc.Text()), " ")})
		}
	}
	return bugs, nil
}

// hunter runs what was built with the bugs in it.
type hunter struct {
	dir   string
	seeds []string
}

func (h *hunter) build() error {
	compile := func(args ...string) error {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	for _, pkg := range packages {
		if err := compile("test", "-c", "-tags", "planted", "-o", filepath.Join(h.dir, pkg+".test"), "./"+pkg); err != nil {
			return err
		}
	}
	return compile("build", "-tags", "planted", "-o", filepath.Join(h.dir, "tutti"), "./cmd/tutti")
}

// tests runs the tests with a bug, up to the first one that finds it.
func (h *hunter) tests(b bug) finding {
	order := slices.Clone(packages)
	own := func(pkg string) int {
		if strings.HasPrefix(b.name, pkg+"-") {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(x, y string) int { return cmp.Compare(own(x), own(y)) })
	f := finding{what: "–"}
	for _, pkg := range order {
		out, failed, took := h.command(b, pkg, pkg+".test", "-test.failfast", "-test.timeout="+tooLong.String())
		f.took += took
		if failed {
			f.what, f.unclear = failedTest(out)
			f.what = "`" + pkg + "` " + f.what
			break
		}
	}
	return f
}

// simulate runs simulations with a bug, up to the first that does not pass. In
// seeds 4 and 7 all six validators have the same stake, so that some of them
// have exactly a third, and two thirds, of it.
func (h *hunter) simulate(b bug) finding {
	f := finding{what: "–", seed: "–"}
	run := func(kind string, flags ...string) (trace string) {
		out, failed, took := h.command(b, ".", "tutti", append([]string{"sim"}, flags...)...)
		f.took += took
		if failed {
			f.what, f.seed, f.unclear = verdict(out)
			f.seed = kind + " " + f.seed
		}
		return line(out, "trace")
	}
	var traces [2]string
	for i := range traces {
		if traces[i] = run("healthy", "--validators", "6", "--slots", "8", "--seed", "4"); f.failed() {
			return f
		}
	}
	if traces[0] != traces[1] {
		f.what, f.seed = "the traces of two runs differ", "healthy 4"
		return f
	}
	if run("twins", "--scenario", "twins", "--seeds", "0..19", "--jobs", "1"); f.failed() {
		return f
	}
	for _, seed := range h.seeds {
		if run("faults", "--faults", "--validators", "6", "--slots", "100", "--seed", seed); f.failed() {
			return f
		}
	}
	return f
}

// command runs a program in a folder, with a bug and a fixed seed of all
// tests. It returns the time that it took of a processor.
func (h *hunter) command(b bug, folder, program string, args ...string) (output string, failed bool, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), tooLong+time.Minute) // tests end themselves before
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(h.dir, program), args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "TUTTI_PLANTED="+b.name, "TUTTI_SEED=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err.Error(), true, 0
	}
	return string(out), err != nil, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

var (
	failure   = regexp.MustCompile(`--- FAIL: (Test\w+|Fuzz\w+)`)
	panicked  = regexp.MustCompile(`\.((?:Test|Fuzz)[A-Z]\w*)\(`)
	violation = regexp.MustCompile(`seed (\d+), virtual time \S+, node \d+: (\w+: [^\n]*)`)
	key       = regexp.MustCompile(`[1-9A-HJ-NP-Za-km-z]{32,}`)
)

// failedTest returns the name of the first test that failed, or says why that
// is unclear.
func failedTest(output string) (name string, unclear bool) {
	if strings.Contains(output, "panic: test timed out") {
		return "does not end", true
	}
	for _, pattern := range []*regexp.Regexp{failure, panicked} {
		if m := pattern.FindStringSubmatch(output); m != nil {
			return "`" + m[1] + "`", false
		}
	}
	return "names no test", true
}

// verdict returns what a run says is broken, without long keys, and its seed,
// or says that it is unclear: it did not start, or did not end.
func verdict(output string) (what, seed string, unclear bool) {
	m := violation.FindStringSubmatch(output)
	if m == nil {
		return "does not run", "–", true
	}
	return key.ReplaceAllString(m[2], "…"), m[1], false
}

// line returns the line of an output that begins so.
func line(output, begin string) string {
	for l := range strings.Lines(output) {
		if strings.HasPrefix(l, begin) {
			return l
		}
	}
	return ""
}
