package live

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"tutti/bank"
	"tutti/leader"
	"tutti/node"
)

// observe writes reports to log and metrics until ctx ends.
func (l *Live) observe(ctx context.Context) error {
	o := observer{log: l.log}
	for {
		reports, err := l.watch.Next(ctx)
		switch {
		case errors.Is(err, ErrSlow):
			l.log.Warn("log and metrics fell behind: reports are missing from both")
			l.watch = l.hub.Subscribe(watchMax)
		case err != nil:
			return nil
		}
		for _, r := range reports {
			l.metrics.report(r.Of)
			o.report(r.Of)
		}
	}
}

// observer tells people what the node does: at info one line for each
// executed slot, at warn what should not happen, the rest at debug.
type observer struct {
	log  *zap.Logger
	head node.Head
}

func (o *observer) report(of any) {
	switch r := of.(type) {
	case node.Head:
		o.head = r
	case node.BankComputed:
		o.slot(r.Result)
	case node.BlockHeld:
		o.log.Debug("block held", zap.Stringer("block", r.Block), zap.Int("userblocks", len(r.Entries)),
			zap.Int("missing", r.Missing), zap.Int("votes", r.Votes), zap.Bool("own", r.Own))
	case node.Voted:
		o.log.Debug("voted", zap.Stringer("block", r.Block), zap.Uint64("bank_slot", uint64(r.BankSlot)))
	case node.Confirmed:
		o.log.Debug("confirmed", zap.Stringer("block", r.Block))
	case node.Rooted:
		o.log.Debug("rooted", zap.Stringer("block", r.Block))
	case node.Dropped:
		o.log.Debug("dropped", zap.String("what", r.What), zap.String("reason", r.Reason), zap.Stringer("from", r.From))
	case node.Refused:
		o.log.Debug("transaction refused", zap.Error(r.Err))
	case node.BlockRejected:
		o.log.Warn("invalid block", zap.Stringer("block", r.Block), zap.Error(r.Err))
	case node.StoodStill:
		o.log.Error("this node makes no block: more slots were skipped since the newest that it has than a block can hold",
			zap.Uint64("slot", uint64(r.Slot)), zap.Uint64("newest", uint64(r.Parent)), zap.Int("slots_max", leader.SkipMax))
	case node.UserBlockRejected:
		o.log.Warn("malformed UserBlock", zap.Stringer("userblock", r.Ref), zap.Error(r.Err))
	case node.Equivocated:
		o.log.Warn("two blocks under one key", zap.Stringer("key", r.Key), zap.Stringer("signer", r.Signer))
	case node.Mismatched:
		o.log.Warn("another BankHash", zap.Uint64("slot", uint64(r.Slot)), zap.Stringer("voter", r.Voter),
			zap.Stringer("own", r.Own), zap.Stringer("other", r.Other))
	case node.WentBack:
		o.log.Warn("own BankHash is wrong: executing again", zap.Stringer("block", r.Wrong), zap.Stringer("from", r.To),
			zap.Int("try", r.Try), zap.Stringer("own", r.Own), zap.Stringer("other", r.Other))
	case node.HealthChanged:
		o.health(&r)
	case node.Restarted:
		o.log.Info("restart record taken", zap.Uint64("count", r.Restart.Count), zap.Stringer("block", r.Restart.Block),
			zap.Uint64("first_slot", uint64(r.Restart.First)))
	}
}

// health writes that the node stops voting, or votes again.
func (o *observer) health(r *node.HealthChanged) {
	level := zap.ErrorLevel
	if r.Health == node.Healthy {
		level = zap.WarnLevel
	}
	o.log.Log(level, "node is "+r.Health.String(), zap.Stringer("block", r.Block), zap.String("cause", r.Cause), zap.Stringer("own", r.Own),
		zap.Uint64("with", uint64(r.Sums.With)), zap.Uint64("against", uint64(r.Sums.Against)), zap.Uint64("stake", uint64(r.Sums.Total)))
}

// slot writes the line of an executed slot.
func (o *observer) slot(r *bank.Result) {
	ok := 0
	for i := range r.Receipts {
		if r.Receipts[i].Outcome == bank.OK {
			ok++
		}
	}
	o.log.Info("slot", zap.Uint64("slot", uint64(r.Ref.Slot)), zap.Int("transactions", len(r.Receipts)), zap.Int("ok", ok),
		zap.Uint64("confirmed", uint64(o.head.Confirmed)), zap.Uint64("root", uint64(o.head.Root)),
		zap.Int("lag", o.head.Lag), zap.String("bank_hash", r.BankHash.String()[:8]))
}
