package sim

import (
	"fmt"
	"strings"

	"tutti/node"
)

// Scenario names a run of which all is given but what it draws from the seed:
// it replaces everything in a Config but Seed, Unshared and Story.
type Scenario string

// scenario plans a run, watches it and judges it at its end.
type scenario interface {
	// configure fixes the Config.
	configure(*Config)
	// plan says who is dishonest and what goes wrong in a cluster whose genesis
	// is made.
	plan(*Sim) (dishonest, *faults)
	// heard is called with each message before an honest machine gets it, told
	// with each report of one.
	heard(*host, node.Message)
	told(*host, any)
	// judge says at the end by what a promise of the scenario was broken, nil if
	// by nothing, and adds to the result.
	judge(*Sim, *Result) *Violation
}

// scenarios are all there are, by name, and what they are for.
var scenarios = []struct {
	name Scenario
	of   func() scenario
}{
	{"twins", func() scenario { return &twins{} }},
	{"cut-off", func() scenario { return &cutOff{validators: 10, minority: 3, slots: 150, after: 150} }},
	{"slow-executors", func() scenario { return &executors{factor: 10, full: true, first: 48, last: 128, recovery: 64} }},
	{"late-executors", func() scenario { return &executors{factor: 400, first: 48, last: 73, recovery: 64} }},
}

// ParseScenario reads the name of a scenario.
func ParseScenario(s string) (Scenario, error) {
	if name := Scenario(s); name.new() != nil {
		return name, nil
	}
	return "", fmt.Errorf("scenario %q: want one of %s", s, ScenarioNames())
}

// ScenarioNames lists all names.
func ScenarioNames() string {
	var names []string
	for _, x := range scenarios {
		names = append(names, string(x.name))
	}
	return strings.Join(names, ", ")
}

// new returns the scenario of that name, nil for none.
func (s Scenario) new() scenario {
	for _, x := range scenarios {
		if x.name == s {
			return x.of()
		}
	}
	return nil
}
