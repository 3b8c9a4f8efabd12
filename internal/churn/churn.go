// Package churn keeps maps small whose entries come and go for as long as a
// process runs.
//
// A map of Go never gives memory back. One that always holds about as many
// entries, since as many are deleted as added, grows all the same: a deleted
// entry may leave a mark, and a part of the map whose room is used up by entries
// and marks is split in two now and then, for good. Where half of the room is
// free hardly any deletion leaves a mark; so a map doubles soon, and once more
// within hours.
package churn

import "maps"

const (
	// turnovers is how often all entries of a map are replaced before it is
	// copied, which then costs a fraction of what that has cost. A map whose
	// entries stay for minutes has grown to its copy's size soon after a start.
	turnovers = 2
	// small is how many deletions do not matter.
	small = 1024
	// large is how many entries a map may have that is copied: that takes some
	// milliseconds, for which its owner stands still. A larger one is left to grow.
	large = 1 << 16
)

// Renew returns m, or a copy with room for twice what it holds if much more was
// deleted from it than that. deleted counts what was deleted from m since it was
// made; the owner of the map adds to it, and Renew sets it back.
func Renew[M ~map[K]V, K comparable, V any](m M, deleted *int) M {
	if *deleted < small || *deleted < turnovers*len(m) || len(m) > large {
		return m
	}
	*deleted = 0
	fresh := make(M, 2*len(m))
	maps.Copy(fresh, m)
	return fresh
}
