package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Message is a legacy message under construction. Its Header has the numbers
// of required signatures, of read-only signed keys, and of read-only unsigned
// keys.
type Message struct {
	Header       [3]byte
	Keys         []Pubkey
	Blockhash    Hash
	Instructions []Instruction
}

// AccountMeta is an account that a Call uses, and how.
type AccountMeta struct {
	Key      Pubkey
	Signer   bool
	Writable bool
}

// Call is an instruction before it is compiled: with keys for indices.
type Call struct {
	Program  Pubkey
	Accounts []AccountMeta
	Data     []byte
}

// NewMessage compiles calls into a legacy message: each key once, with all
// the rights that any call needs, payer first, in Solana's four groups and
// inside them in order of first use. More than 256 keys make a message that
// no parser takes.
func NewMessage(payer Pubkey, blockhash Hash, calls ...Call) Message {
	metas := []AccountMeta{{Key: payer, Signer: true, Writable: true}}
	add := func(m AccountMeta) {
		i := slices.IndexFunc(metas, func(x AccountMeta) bool { return x.Key == m.Key })
		if i < 0 {
			metas = append(metas, m)
			return
		}
		metas[i].Signer = metas[i].Signer || m.Signer
		metas[i].Writable = metas[i].Writable || m.Writable
	}
	for _, c := range calls {
		for _, m := range c.Accounts {
			add(m)
		}
		add(AccountMeta{Key: c.Program})
	}
	group := func(m AccountMeta) int {
		switch {
		case m.Signer && m.Writable:
			return 0
		case m.Signer:
			return 1
		case m.Writable:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(metas, func(a, b AccountMeta) int { return group(a) - group(b) })

	m := Message{Blockhash: blockhash}
	for _, x := range metas {
		m.Keys = append(m.Keys, x.Key)
		switch group(x) {
		case 0:
			m.Header[0]++
		case 1:
			m.Header[0]++
			m.Header[1]++
		case 3:
			m.Header[2]++
		}
	}
	index := func(k Pubkey) uint8 { return uint8(slices.Index(m.Keys, k)) }
	for _, c := range calls {
		in := Instruction{Program: index(c.Program), Data: c.Data}
		for _, a := range c.Accounts {
			in.Accounts = append(in.Accounts, index(a.Key))
		}
		m.Instructions = append(m.Instructions, in)
	}
	return m
}

// Append appends the message's bytes, which are what is signed.
func (m *Message) Append(dst []byte) []byte {
	dst = append(dst, m.Header[:]...)
	dst = AppendCompactU16(dst, len(m.Keys))
	for _, k := range m.Keys {
		dst = append(dst, k[:]...)
	}
	dst = append(dst, m.Blockhash[:]...)
	dst = AppendCompactU16(dst, len(m.Instructions))
	for _, in := range m.Instructions {
		dst = append(dst, in.Program)
		dst = AppendCompactU16(dst, len(in.Accounts))
		dst = append(dst, in.Accounts...)
		dst = AppendCompactU16(dst, len(in.Data))
		dst = append(dst, in.Data...)
	}
	return dst
}

// Sign returns the wire bytes of the transaction with a message's bytes and
// the signers' signatures, in the order of the message's keys. They are those
// of crypto/ed25519, in two thirds of the time.
func Sign(message []byte, signers ...ed25519.PrivateKey) []byte {
	tx := make([]byte, 0, 1+64*len(signers)+len(message))
	tx = AppendCompactU16(tx, len(signers))
	for _, s := range signers {
		tx = append(tx, voi.Sign(voi.PrivateKey(s), message)...)
	}
	return append(tx, message...)
}

// TransferMessage moves lamports, with a compute-unit price in micro-lamports
// and a unit limit where those are not zero.
func TransferMessage(from, to Pubkey, lamports Lamports, unitPrice uint64, unitLimit uint32, blockhash Hash) Message {
	var calls []Call
	if unitLimit != 0 {
		data := binary.LittleEndian.AppendUint32([]byte{setUnitLimit}, unitLimit)
		calls = append(calls, Call{Program: ComputeBudgetProgram, Data: data})
	}
	if unitPrice != 0 {
		data := binary.LittleEndian.AppendUint64([]byte{setUnitPrice}, unitPrice)
		calls = append(calls, Call{Program: ComputeBudgetProgram, Data: data})
	}
	const transfer = 2
	data := binary.LittleEndian.AppendUint32(nil, transfer)
	data = binary.LittleEndian.AppendUint64(data, uint64(lamports))
	calls = append(calls, Call{
		Program:  SystemProgram,
		Accounts: []AccountMeta{{Key: from, Signer: true, Writable: true}, {Key: to, Writable: true}},
		Data:     data,
	})
	return NewMessage(from, blockhash, calls...)
}
