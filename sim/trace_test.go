package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutti/ledger"
	"tutti/node"
)

// Everything that a node can emit has its case in the trace: effects, records
// and jobs by their methods, reports by the file that they stand in. What is
// forgotten would panic only when it is emitted.
func TestTraceKnowsAllEffects(t *testing.T) {
	source, err := os.ReadFile("trace.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../node/*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			for _, name := range emitted(d, filepath.Base(file) == "report.go") {
				names[name] = true
			}
		}
	}
	if len(names) < 30 {
		t.Errorf("found only %d types in ../node", len(names))
	}
	for name := range names {
		if !strings.Contains(string(source), "case node."+name+":") {
			t.Errorf("trace.go has no case for node.%s", name)
		}
	}
}

// emitted returns the names of what a declaration makes emittable.
func emitted(d ast.Decl, reports bool) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || d.Name.Name != "isEffect" && d.Name.Name != "isRecord" && d.Name.Name != "Run" {
			return nil
		}
		if id, ok := d.Recv.List[0].Type.(*ast.Ident); ok {
			return []string{id.Name}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if typ, ok := spec.(*ast.TypeSpec); ok && reports && typ.Name.IsExported() {
				names = append(names, typ.Name.Name)
			}
		}
	}
	return names
}

func TestTraceTellsEffectsApart(t *testing.T) {
	a, b := ledger.BlockRef{Slot: 1}, ledger.BlockRef{Slot: 1, ID: ledger.Hash{31: 1}}
	record := func(r node.Record) node.Effect { return node.Save{Records: []node.Record{r}} }
	effects := []node.Effect{
		node.Root{Block: a},
		node.Root{Block: b},
		node.Root{Block: b, State: []byte{0}},
		record(node.RootRecord{Block: a}),
		record(node.RootRecord{Block: b}),
		node.Save{Lazy: true, Records: []node.Record{node.RootRecord{Block: b}}},
		record(node.TowerRecord{Bytes: []byte("1")}),
		record(node.TowerRecord{Bytes: []byte("2")}),
		record(node.BegunRecord{Key: 1}),
		record(node.BegunRecord{Key: 2}),
		record(node.EvidenceRecord{Key: 1, A: []byte("ab"), B: []byte("c")}),
		record(node.EvidenceRecord{Key: 1, A: []byte("a"), B: []byte("bc")}),
		record(node.BlockRecord{Key: 1}),
		record(node.BlockRecord{Key: 1, Roots: make([]ledger.Hash, 1)}),
		node.Report{Of: node.Confirmed{Block: a}},
		node.Report{Of: node.Confirmed{Block: b}},
		node.Report{Of: node.Rooted{Block: b}},
		node.Report{Of: node.VoteSeen{Block: b}},
		node.Report{Of: node.Head{Slot: 1}},
		node.Report{Of: node.Head{Height: 1}},
		node.Report{Of: node.Dropped{What: "a", Reason: "bc"}},
		node.Report{Of: node.Dropped{What: "ab", Reason: "c"}},
	}
	seen := make(map[ledger.Hash]int)
	for i, e := range effects {
		tr := newTrace()
		tr.effect(0, 0, e, nil)
		if j, ok := seen[tr.hash()]; ok {
			t.Errorf("%+v and %+v have one trace", effects[j], e)
		}
		seen[tr.hash()] = i
	}
	for _, other := range []func(*trace){
		func(tr *trace) { tr.effect(1, 0, effects[0], nil) },
		func(tr *trace) { tr.effect(0, 1, effects[0], nil) },
		func(tr *trace) { tr.effect(0, 0, effects[1], nil); tr.effect(0, 0, effects[0], nil) },
		func(tr *trace) { tr.effect(0, 0, effects[0], nil); tr.effect(0, 0, effects[1], nil) },
		func(tr *trace) { tr.effect(0, 0, node.Send{}, &frame{raw: []byte("1")}) },
		func(tr *trace) { tr.effect(0, 0, node.Send{}, &frame{raw: []byte("2")}) },
	} {
		tr := newTrace()
		other(tr)
		if _, ok := seen[tr.hash()]; ok {
			t.Error("another node, time, order or message has a trace that was there before")
		}
		seen[tr.hash()] = 0
	}
}
