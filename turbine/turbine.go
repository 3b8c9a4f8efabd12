// Package turbine says who forwards which shred to whom (Tree), and collects
// shreds into blocks (Collector).
//
// Every shred has a tree of its own, computed by all nodes alike from stakes
// and the shred's place (FORMATS section 5). What arrives is kept by the
// Merkle root of its FEC set, and a set's predecessor is the root that it
// names: so several blocks under one key, an equivocator's, are collected
// side by side, and a block is asked for by its id alone.
//
// The package checks no signatures, decodes nothing and knows no network: it
// is told roots that were proven and signatures that were checked, and says
// what is new, what can be assembled, and what is missing.
package turbine
