package bench

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// seen is how long the processor was seen in one place.
type seen struct {
	// stack has the names of functions, innermost first.
	stack []string
	time  time.Duration
}

// Field numbers of github.com/google/pprof/proto/profile.proto.
const (
	profileSample   = 2
	profileLocation = 4
	profileFunction = 5
	profileString   = 6
	sampleLocation  = 1
	sampleValue     = 2
	locationID      = 1
	locationLine    = 4
	lineFunction    = 1
	functionID      = 1
	functionName    = 2
)

var errProfile = errors.New("profile is damaged")

// profileSizeMax bounds a profile that is unpacked.
const profileSizeMax = 256 << 20

// readProfile reads a profile of processor time as Go's runtime writes it:
// each sample's values are a count and nanoseconds.
func readProfile(b []byte) ([]seen, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProfile, err)
	}
	if b, err = io.ReadAll(io.LimitReader(z, profileSizeMax)); err != nil {
		return nil, fmt.Errorf("%w: %w", errProfile, err)
	}
	var (
		names     []string
		functions = map[uint64]uint64{}   // by id: the index of the name
		locations = map[uint64][]uint64{} // by id: the functions, inlined ones first
		samples   [][]byte
	)
	err = fields(b, func(number protowire.Number, _ uint64, body []byte) error {
		switch number {
		case profileString:
			names = append(names, string(body))
		case profileSample:
			samples = append(samples, body)
		case profileFunction:
			var id, name uint64
			err := fields(body, func(number protowire.Number, v uint64, _ []byte) error {
				switch number {
				case functionID:
					id = v
				case functionName:
					name = v
				}
				return nil
			})
			functions[id] = name
			return err
		case profileLocation:
			return readLocation(body, locations)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]seen, 0, len(samples))
	for _, body := range samples {
		places, values, err := readSample(body)
		if err != nil {
			return nil, err
		}
		if len(values) != 2 {
			return nil, fmt.Errorf("%w: %d values of a sample", errProfile, len(values))
		}
		s := seen{time: time.Duration(values[1])}
		for _, place := range places {
			for _, f := range locations[place] {
				if name := functions[f]; name < uint64(len(names)) {
					s.stack = append(s.stack, names[name])
				}
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func readLocation(b []byte, locations map[uint64][]uint64) error {
	var id uint64
	var lines []uint64
	err := fields(b, func(number protowire.Number, v uint64, body []byte) error {
		switch number {
		case locationID:
			id = v
		case locationLine:
			return fields(body, func(number protowire.Number, v uint64, _ []byte) error {
				if number == lineFunction {
					lines = append(lines, v)
				}
				return nil
			})
		}
		return nil
	})
	locations[id] = lines
	return err
}

func readSample(b []byte) (places, values []uint64, err error) {
	err = fields(b, func(number protowire.Number, v uint64, body []byte) error {
		list := &places
		switch number {
		case sampleLocation:
		case sampleValue:
			list = &values
		default:
			return nil
		}
		if body == nil {
			*list = append(*list, v)
			return nil
		}
		for len(body) > 0 { // packed
			v, n := protowire.ConsumeVarint(body)
			if n < 0 {
				return errProfile
			}
			*list = append(*list, v)
			body = body[n:]
		}
		return nil
	})
	return places, values, err
}

// fields walks the fields of a message: integers and bytes, which is all
// that a profile has.
func fields(b []byte, yield func(number protowire.Number, v uint64, body []byte) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errProfile
		}
		b = b[n:]
		var v uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			if body, n = protowire.ConsumeBytes(b); body == nil {
				body = []byte{}
			}
		default:
			return errProfile
		}
		if n < 0 {
			return errProfile
		}
		if err := yield(number, v, body); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
