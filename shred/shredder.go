package shred

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"tutti/ledger"
)

// ErrClosed is returned by a Shredder whose last batch was made.
var ErrClosed = errors.New("shred: block is closed")

// ErrTooLong is returned for a batch with which the block would have more
// than IndexMax data shreds.
var ErrTooLong = errors.New("shred: block is too long")

// Config says of what block a Shredder makes the shreds, and who signs them.
type Config struct {
	Key ledger.SlotKey
	// ParentOffset is the distance to the parent's slot; 0 for a UserBlock.
	ParentOffset uint16
	// Version is the shred version of the cluster.
	Version uint16
	// Signer signs the Merkle roots, as crypto/ed25519 would, to the bit.
	Signer ed25519.PrivateKey
	// Chained is the parent's id, or a UserBlock's anchor.
	Chained ledger.Hash
}

// Shredder turns the batches of one block into FEC sets, in order.
type Shredder struct {
	config  Config
	index   uint32
	chained ledger.Hash
	closed  bool
}

// NewShredder returns a Shredder at the start of a block.
func NewShredder(c Config) *Shredder { return &Shredder{config: c, chained: c.Chained} }

// Root returns the Merkle root of the last set made; after the last batch it
// is the block's id.
func (s *Shredder) Root() ledger.Hash { return s.chained }

// Sets returns the number of sets made so far.
func (s *Shredder) Sets() int { return int(s.index / SetData) }

// Shred makes the sets of one batch, at least one, padded to whole sets. The
// last batch ends the block; of a leader block its end lies in one set whose
// shreds retransmitters sign (FORMATS section 2). It returns ErrClosed after
// the last batch and ErrTooLong, both without having made anything. The sets
// keep the batch as their payload: it is not to be changed any more.
func (s *Shredder) Shred(batch []byte, referenceTick uint8, last bool) ([]*Set, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if !parentOK(s.config.Key, s.config.ParentOffset) {
		return nil, fmt.Errorf("%w: %d of %v", ErrParent, s.config.ParentOffset, s.config.Key)
	}
	pieces := s.split(len(batch), last)
	if s.Sets()+len(pieces) > IndexMax/SetData {
		return nil, fmt.Errorf("%w: %d sets more", ErrTooLong, len(pieces))
	}
	sets := make([]*Set, 0, len(pieces))
	for i, p := range pieces {
		flags := min(referenceTick, flagTickMask)
		if final := i == len(pieces)-1; final && last {
			flags |= flagLast
		} else if final {
			flags |= flagDataComplete
		}
		set, err := s.set(batch[:p.size], flags, p.resigned)
		if err != nil {
			return nil, err
		}
		batch = batch[p.size:]
		sets = append(sets, set)
	}
	s.closed = last
	return sets, nil
}

// piece is what of a batch goes into one set.
type piece struct {
	size     int
	resigned bool
}

// split divides a batch of n bytes into sets.
func (s *Shredder) split(n int, last bool) []piece {
	var plain, resigned header
	resigned.resigned = true
	setMax := SetData * plain.capacity()
	end := 0
	resign := last && !s.config.Key.IsUser()
	if resign {
		end = min(n, SetData*resigned.capacity())
		n -= end
	}
	var pieces []piece
	for n > 0 || len(pieces) == 0 && !resign {
		size := min(n, setMax)
		pieces = append(pieces, piece{size: size})
		n -= size
	}
	if resign {
		pieces = append(pieces, piece{size: end, resigned: true})
	}
	return pieces
}

// set makes one set. Only the last data shred has the closing flags.
func (s *Shredder) set(payload []byte, flags byte, resigned bool) (*Set, error) {
	h := header{
		key:      s.config.Key,
		index:    s.index,
		version:  s.config.Version,
		resigned: resigned,
		chained:  s.chained,
	}
	set := &Set{
		Key:           h.key,
		Index:         h.index,
		Chained:       h.chained,
		Version:       h.version,
		ParentOffset:  s.config.ParentOffset,
		Complete:      flags&flagDataComplete != 0,
		Last:          flags&flagLast == flagLast,
		ReferenceTick: flags & flagTickMask,
		Shreds:        newShreds(),
		Payload:       payload[:len(payload):len(payload)],
	}
	variant := byte(variantData)
	if resigned {
		variant = variantDataResigned
	}
	for i, raw := range set.Shreds[:SetData] {
		raw[offVariant] = variant
		putCommon(raw, &h, h.index+uint32(i))
		binary.LittleEndian.PutUint16(raw[offParent:], s.config.ParentOffset)
		raw[offFlags] = flags & flagTickMask
		if i == SetData-1 {
			raw[offFlags] = flags
		}
		n := copy(raw[dataHeader:dataHeader+h.capacity()], payload)
		payload = payload[n:]
		binary.LittleEndian.PutUint16(raw[offSize:], uint16(dataHeader+n))
	}
	root, err := seal(&set.Shreds, &h, &leaves{})
	if err != nil {
		return nil, err
	}
	set.Root = root
	set.Signature = ledger.Signature(voi.Sign(voi.PrivateKey(s.config.Signer), root[:]))
	for _, raw := range set.Shreds {
		copy(raw, set.Signature[:])
	}
	s.index += SetData
	s.chained = root
	return set, nil
}
