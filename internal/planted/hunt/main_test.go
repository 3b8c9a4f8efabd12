package main

import "testing"

// Only a failure that names a test, or a broken promise, is a finding.
func TestUnclear(t *testing.T) {
	tests := []struct {
		output, want string
		unclear      bool
	}{
		{"--- FAIL: TestTower (0.00s)\n", "`TestTower`", false},
		{"panic: at once\ngoroutine 7:\ntutti/bank.TestFork(0x1)\n", "`TestFork`", false},
		{"panic: test timed out after 20m0s\nrunning tests:\n\tTestTower (20m0s)\ntutti/consensus.TestTower(0x1)\n", "does not end", true},
		{"signal: killed\n", "names no test", true},
	}
	for _, x := range tests {
		if got, unclear := failedTest(x.output); got != x.want || unclear != x.unclear {
			t.Errorf("%q is %s, unclear %v", x.output, got, unclear)
		}
	}
	runs := []struct {
		output, what, seed string
		unclear            bool
	}{
		{"Error: seed 4, virtual time 3.2s, node 1: Diverged: two of them\n", "Diverged: two of them", "4", false},
		{"panic: no genesis\n", "does not run", "–", true},
		{"", "does not run", "–", true},
	}
	for _, x := range runs {
		if what, seed, unclear := verdict(x.output); what != x.what || seed != x.seed || unclear != x.unclear {
			t.Errorf("%q is %s, seed %s, unclear %v", x.output, what, seed, unclear)
		}
	}
	f := finding{what: "does not run", unclear: true}
	if f.found() || !f.failed() {
		t.Error("what does not run has found something")
	}
}
