package bank

import (
	"encoding/binary"
	"testing"

	"tutti/internal/testkit"
	"tutti/ledger"
)

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func TestTreeRootOfNothing(t *testing.T) {
	zeros := make([]byte, 32)
	if got, want := TreeRoot(nil), ledger.Sum([]byte{2}, le64(0), zeros); got != want {
		t.Errorf("root of nothing is %v, want %v", got, want)
	}
}

func TestTreeProofs(t *testing.T) {
	rng := testkit.Rand(t)
	for n := 1; n <= 40; n++ {
		leaves := make([]ledger.Hash, n)
		for i := range leaves {
			leaves[i] = ledger.Sum(le64(rng.Uint64()))
		}
		root := TreeRoot(leaves)
		for i, leaf := range leaves {
			proof := TreeProof(leaves, i)
			if !VerifyTreeProof(root, leaf, uint64(i), uint64(n), proof) {
				t.Fatalf("proof of leaf %d of %d fails", i, n)
			}
			for name, ok := range map[string]bool{
				"another leaf":  VerifyTreeProof(root, ledger.Sum(leaf[:]), uint64(i), uint64(n), proof),
				"another index": n > 1 && VerifyTreeProof(root, leaf, uint64((i+1)%n), uint64(n), proof),
				"beyond":        VerifyTreeProof(root, leaf, uint64(n), uint64(n), proof),
				"another count": VerifyTreeProof(root, leaf, uint64(i), uint64(n+1), proof),
				"longer":        VerifyTreeProof(root, leaf, uint64(i), uint64(n), append(proof, leaf)),
				"shorter":       n > 1 && VerifyTreeProof(root, leaf, uint64(i), uint64(n), proof[1:]),
			} {
				if ok {
					t.Fatalf("leaf %d of %d: proof with %s passes", i, n, name)
				}
			}
		}
	}
}

// FuzzVerifyTreeProof: no proof proves a leaf that is not there.
func FuzzVerifyTreeProof(f *testing.F) {
	leaves := make([]ledger.Hash, 5)
	for i := range leaves {
		leaves[i] = ledger.Sum(le64(uint64(i)))
	}
	root := TreeRoot(leaves)
	f.Add(uint64(4), uint64(5), []byte(nil))
	f.Add(uint64(0), uint64(1<<63), make([]byte, 64*32))
	f.Fuzz(func(t *testing.T, i, count uint64, b []byte) {
		proof := make([]ledger.Hash, min(len(b)/32, 70))
		for k := range proof {
			proof[k] = ledger.Hash(b[32*k:])
		}
		if VerifyTreeProof(root, ledger.Hash{}, i, count, proof) {
			t.Fatal("proved what is not there")
		}
	})
}
