package bank

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tutti/cluster"
	"tutti/internal/testkit"
	"tutti/ledger"
)

// BenchmarkTransfers executes blocks of 10 000 random transfers, all hashes
// included. An operation is a block; processor time for each transaction and
// the accounts that a block writes are given too.
func BenchmarkTransfers(b *testing.B) {
	const perBlock, blocks = 10_000, 4
	for _, accounts := range []int{10_000, 1_000_000} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("accounts=%d/workers=%d", accounts, workers), func(b *testing.B) {
				w := newWorld(b, workers, func(o *cluster.Options) {
					o.Accounts = nil
					for i := range accounts {
						o.Accounts = append(o.Accounts, cluster.GenesisAccount{Key: user(i), Lamports: 10 * sol})
					}
				})
				rng := rand.New(rand.NewPCG(1, 2))
				// Every transaction is made once; blocks that run it again do
				// so on a fork of their own.
				root := w.tip
				made := make([]*Block, blocks)
				for i := range made {
					var userBlocks []*ledger.UserBlock
					for lane := range 4 {
						txs := make([]ledger.UserTransaction, perBlock/4)
						for t := range txs {
							txs[t] = w.transfer(user(rng.IntN(accounts)), user(rng.IntN(accounts)), 1+ledger.Lamports(rng.Uint64N(1e6)))
						}
						u := userBlock(lane, txs...)
						userBlocks = append(userBlocks, u)
					}
					made[i] = w.block(i, fmt.Sprint(i), userBlocks...)
				}
				n, written := 0, 0
				b.ReportAllocs()
				cpu := testkit.StartCPU()
				for b.Loop() {
					block := made[n%blocks]
					r, err := w.bank.Execute(block)
					if err != nil {
						b.Fatal(err)
					}
					for i := range r.Receipts {
						if r.Receipts[i].Outcome != OK {
							b.Fatal(r.Receipts[i])
						}
					}
					n++
					written += len(r.Written)
					if err := w.bank.Discard(block.Ref); err != nil {
						b.Fatal(err)
					}
				}
				if w.bank.Root() != root {
					b.Fatal("the root moved")
				}
				cpu.Report(b, "tx", perBlock)
				b.ReportMetric(float64(written)/float64(n), "written/op")
			})
		}
	}
}

// BenchmarkSequence is BenchmarkTransfers without hashes: order, slots,
// judging and executing 10 000 transfers.
func BenchmarkSequence(b *testing.B) {
	const perBlock = 10_000
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			w := newWorld(b, workers)
			rng := rand.New(rand.NewPCG(1, 2))
			txs := make([]ledger.UserTransaction, perBlock)
			for t := range txs {
				txs[t] = w.transfer(user(rng.IntN(100)), user(rng.IntN(100)), 1+ledger.Lamports(rng.Uint64N(1e5)))
			}
			block := w.block(0, "", userBlock(0, txs...))
			parent := w.bank.state.tip()
			b.ReportAllocs()
			cpu := testkit.StartCPU()
			for b.Loop() {
				x := w.bank.newExecution(block, parent, parent.stakes[0])
				x.load()
				x.run()
			}
			cpu.Report(b, "tx", perBlock)
		})
	}
}

// BenchmarkView reads accounts that 32 unrooted blocks have not touched.
func BenchmarkView(b *testing.B) {
	w := newWorld(b, 1)
	root := &View{w.bank.state, w.bank.state.root()}
	for i := range 32 {
		w.run(w.transfer(user(0), user(1), ledger.Lamports(1+i)))
	}
	for b.Loop() {
		root.Balance(user(2))
	}
}

// BenchmarkEmptyBlock is what a block costs that names nothing: sysvars.
func BenchmarkEmptyBlock(b *testing.B) {
	w := newWorld(b, 1)
	b.ReportAllocs()
	cpu := testkit.StartCPU()
	for b.Loop() {
		w.run()
		if err := w.bank.SetRoot(w.tip); err != nil {
			b.Fatal(err)
		}
	}
	cpu.Report(b, "block", 1)
}
