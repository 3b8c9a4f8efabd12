package live

import (
	"context"
	"errors"
	"time"

	"tutti/ledger"
	"tutti/ledger/sigverify"
	"tutti/node"
)

// TPUInboxMax bounds clients' transactions that wait to be verified; more
// are refused.
const TPUInboxMax = 16_384

// Transactions are verified in batches: of verifyMax, or of what has come
// within verifyLinger. A batch of 16 costs half of what single ones do.
const (
	verifyMax    = 1024
	verifyLinger = 20 * time.Millisecond
)

// ErrBusy is returned by Submit when too many transactions wait already, or
// the node has too much to do.
var ErrBusy = errors.New("node is busy")

// Submit hands a transaction, sanitised and with valid signatures, to the
// node and waits for its verdict: nil if it is in the pool, else why not. It
// may be called on many goroutines.
func (l *Live) Submit(ctx context.Context, tx ledger.Transaction) error {
	if !l.throttle.admit(time.Now()) {
		l.metrics.dropped("transaction", "node is busy")
		return ErrBusy
	}
	verdict := make(chan error, 1)
	l.mu.Lock()
	l.tokens++
	token := l.tokens
	l.verdicts[token] = verdict
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.verdicts, token)
		l.mu.Unlock()
	}()
	if !l.core.clients.put(node.Submitted{Tx: tx, Token: token}) {
		l.metrics.dropped("transaction", "client inbox full")
		return ErrBusy
	}
	select {
	case err := <-verdict:
		return err
	case <-l.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell hands a report to who waits for it, and to the hub.
func (l *Live) tell(of any) {
	switch r := of.(type) {
	case node.Accepted:
		l.judge(r.Token, nil)
	case node.Refused:
		l.judge(r.Token, r.Err)
	}
	l.hub.publish(Report{Time: time.Now(), Of: of})
}

func (l *Live) judge(token uint64, err error) {
	if token == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if verdict := l.verdicts[token]; verdict != nil {
		verdict <- err // has room for the one that comes
	}
}

// verify checks signatures until ctx ends: those of UserBlocks first, for
// which execution waits, and those of what clients send over QUIC, which are
// passed on if they are sound. Of clients nothing is taken while there are
// UserBlocks: what has been proposed comes before what might be.
func (l *Live) verify(ctx context.Context) error {
	giveWay()
	keys := sigverify.NewVerifier(l.cfg.Genesis.Params.SignatureRule)
	v := verifier{keys: keys, drop: func(reason string) { l.metrics.dropped("transaction", reason) }}
	var jobs []node.SignatureJob
	var raw [][]byte
	linger := time.NewTimer(verifyLinger)
	defer linger.Stop()
	throttled := false
	for lingering := true; ; {
		over := false
		select {
		case <-l.core.verifying.ready:
		case <-l.tpu.ready:
			if !lingering {
				linger.Reset(verifyLinger)
				lingering = true
			}
		case <-linger.C:
			lingering, over = false, true
		case <-ctx.Done():
			return nil
		}
		for jobs = l.core.verifying.take(jobs[:0], 1); len(jobs) > 0; jobs = l.core.verifying.take(jobs[:0], 1) {
			l.core.results.put(jobs[0].RunWith(keys))
			if ctx.Err() != nil {
				return nil
			}
		}
		waiting := min(l.tpu.len(), verifyMax)
		if !over && (waiting < verifyMax || throttled) {
			continue
		}
		admitted := l.throttle.take(time.Now(), waiting)
		throttled = admitted < waiting // look again when the linger is over
		raw = l.tpu.take(raw[:0], admitted)
		l.throttle.put(admitted - len(raw)) // another verifier was faster
		for _, tx := range v.verify(raw) {
			if !l.core.clients.put(node.Submitted{Tx: tx}) {
				l.metrics.dropped("transaction", "client inbox full")
			}
		}
		clear(raw)
	}
}

// verifier checks transactions in batches. Its buffers are used again.
type verifier struct {
	keys  *sigverify.Verifier
	drop  func(reason string)
	txs   []ledger.Transaction
	items []sigverify.Item
	ok    []bool
}

// verify returns those of the transactions that sanitise and are signed.
func (v *verifier) verify(raw [][]byte) []ledger.Transaction {
	v.txs, v.items = v.txs[:0], v.items[:0]
	for _, b := range raw {
		tx, err := ledger.ParseTransaction(b)
		if err != nil {
			v.drop("malformed")
			continue
		}
		if tx.Sanitize() != nil {
			v.drop("not sane")
			continue
		}
		v.txs = append(v.txs, tx)
		for i := range tx.NumSignatures() {
			signature := tx.Signature(i)
			v.items = append(v.items, sigverify.Item{Pub: tx.KeyBytes(i), Msg: tx.Message(), Sig: signature[:]})
		}
	}
	if cap(v.ok) < len(v.items) {
		v.ok = make([]bool, len(v.items))
	}
	v.ok = v.ok[:len(v.items)]
	v.keys.VerifyBatch(v.items, v.ok)
	sound, at := v.txs[:0], 0
	for _, tx := range v.txs {
		signed := true
		for range tx.NumSignatures() {
			signed = signed && v.ok[at]
			at++
		}
		if !signed {
			v.drop("signature")
			continue
		}
		sound = append(sound, tx)
	}
	return sound
}
