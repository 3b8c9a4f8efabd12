package main

import (
	"github.com/spf13/pflag"

	"tutti/cluster"
	"tutti/ledger"
	"tutti/ledger/sigverify"
)

// paramFlags are the flags of the commands that make a genesis: one for each
// parameter of a cluster.
type paramFlags struct {
	cluster.Params
	flags *pflag.FlagSet

	schedule, execution, signatureRule string
	reserve, bond                      uint64
}

func (p *paramFlags) register(flags *pflag.FlagSet) {
	p.flags = flags
	p.Params = cluster.LocalParams(4)
	flags.IntVar(&p.Proposers, "proposers", p.Proposers, "proposers at a time, 1 to 32")
	flags.Uint64Var(&p.HashesPerTick, "hashes-per-tick", p.HashesPerTick, "PoH hashes of a leader's tick; 0 is low power")
	flags.Uint64Var(&p.UserBlockHashesPerTick, "userblock-hashes-per-tick", p.UserBlockHashesPerTick, "PoH hashes of a UserBlock's tick; 0 is low power")
	flags.DurationVar(&p.TickDuration, "tick-duration", p.TickDuration, "length of a tick; a slot has 64")
	flags.Uint64Var(&p.SlotsPerEpoch, "slots-per-epoch", p.SlotsPerEpoch, "length of an epoch, a multiple of 4")
	flags.Uint64Var(&p.InclusionWindow, "inclusion-window", p.InclusionWindow, "UserBlockSlots after its own in which a UserBlock may be recorded")
	flags.Uint64Var(&p.GraceTicks, "grace-ticks", p.GraceTicks, "ticks that a leader waits for the block before its own")
	flags.Uint64Var(&p.MaxCostPerSlot, "max-cost-per-slot", p.MaxCostPerSlot, "compute units of a slot, shared by its UserBlocks")
	flags.IntVar(&p.FECSetsMax, "fec-sets-max", p.FECSetsMax, "FEC sets of a UserBlock; 192 for fewer than 4 proposers unless given")
	flags.IntVar(&p.PayloadMax, "payload-max", p.PayloadMax, "bytes of a UserBlock; 4 MiB for fewer than 4 proposers unless given")
	flags.IntVar(&p.TransactionsMax, "transactions-max", p.TransactionsMax, "transactions of a UserBlock; 16384 for fewer than 4 proposers unless given")
	flags.Uint64Var(&p.LagFull, "lag-full", p.LagFull, "blocks of execution lag up to which UserBlocks have their full size")
	flags.Uint64Var(&p.LagZero, "lag-zero", p.LagZero, "blocks of execution lag from which on there are no UserBlocks")
	flags.Uint64Var(&p.reserve, "reserve", uint64(p.Reserve), "lamports that a payer keeps for fees; 0 for no reserve")
	flags.Uint64Var(&p.bond, "proposer-bond", uint64(p.ProposerBond), "lamports that a proposer's identity must hold")
	flags.StringVar(&p.schedule, "proposer-schedule", p.ProposerSchedule.String(), "stake, or leader for the slot's leader alone")
	flags.StringVar(&p.execution, "execution", p.Execution.String(), "async, or sync to vote only after executing")
	flags.IntVar(&p.Fanout, "fanout", p.Fanout, "children of a node in a Turbine tree")
	flags.StringVar(&p.signatureRule, "signature-rule", p.SignatureRule.String(), "simd0376 or strict")
}

// params returns the parameters, unchecked but for names.
func (p *paramFlags) params() (cluster.Params, error) {
	out := p.Params
	defaults := out
	defaults.SetUserBlockLimits()
	for flag, limit := range map[string][2]*int{
		"fec-sets-max":     {&out.FECSetsMax, &defaults.FECSetsMax},
		"payload-max":      {&out.PayloadMax, &defaults.PayloadMax},
		"transactions-max": {&out.TransactionsMax, &defaults.TransactionsMax},
	} {
		if !p.flags.Changed(flag) {
			*limit[0] = *limit[1]
		}
	}
	out.Reserve, out.ProposerBond = ledger.Lamports(p.reserve), ledger.Lamports(p.bond)
	var err error
	if out.ProposerSchedule, err = cluster.ParseProposerSchedule(p.schedule); err != nil {
		return out, usage("%w", err)
	}
	if out.Execution, err = cluster.ParseExecution(p.execution); err != nil {
		return out, usage("%w", err)
	}
	if out.SignatureRule, err = sigverify.ParseRule(p.signatureRule); err != nil {
		return out, usage("%w", err)
	}
	return out, nil
}

// changed returns the parameter flags that the user gave.
func (p *paramFlags) changed() (names []string) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(paramFlags).register(own)
	p.flags.Visit(func(f *pflag.Flag) {
		if own.Lookup(f.Name) != nil {
			names = append(names, "--"+f.Name)
		}
	})
	return names
}
