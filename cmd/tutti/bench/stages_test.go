package bench

import (
	"bytes"
	"compress/gzip"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// message builds a protobuf message of integers and bytes.
type message []byte

func (m message) integer(number protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, number, protowire.VarintType), v)
}

func (m message) bytes(number protowire.Number, b []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, number, protowire.BytesType), b)
}

func packed(values ...uint64) (b []byte) {
	for _, v := range values {
		b = protowire.AppendVarint(b, v)
	}
	return b
}

// testProfile has one function at each place, but for the first place, where
// the first function is inlined into the second.
func testProfile(t *testing.T) []byte {
	names := []string{
		"", "crypto/sha256.Sum256", "tutti/poh.advance", "tutti/validator.(*UserBlockCheck).Check",
		"runtime.mallocgc", "tutti/shred.Assemble", "runtime.usleep", "runtime.mcall",
	}
	var m message
	for _, s := range []struct {
		places, values []byte
	}{
		{packed(1, 3), packed(2, 20e6)},
		{packed(4, 3), packed(1, 5e6)},
		{packed(4, 5), packed(1, 10e6)},
		{packed(6, 7), packed(3, 40e6)},
	} {
		m = m.bytes(profileSample, message(nil).bytes(sampleLocation, s.places).bytes(sampleValue, s.values))
	}
	for i := range names {
		id := uint64(i)
		place := message(nil).integer(locationID, id).bytes(locationLine, message(nil).integer(lineFunction, id))
		if i == 1 {
			place = place.bytes(locationLine, message(nil).integer(lineFunction, 2))
		}
		m = m.bytes(profileLocation, place)
		m = m.bytes(profileFunction, message(nil).integer(functionID, id).integer(functionName, id))
		m = m.bytes(profileString, []byte(names[i]))
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(m); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestProfileIsGroupedByStage(t *testing.T) {
	samples, err := readProfile(testProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	stages := Stages{Executed: 1000, Seconds: 5, Times: map[string]time.Duration{}}
	for _, s := range samples {
		stages.Times[stageOf(s.stack)] += s.time
	}
	var out strings.Builder
	stages.print(&out)
	want := `1000 transactions in 5 s, 0.01 cores

stage, of all validators          µs per tx   share
scheduler                              40.0   53.3%
proof of history                       20.0   26.7%
allocate                               15.0   20.0%
all                                    75.0  100.0%
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestDamagedProfileIsAnError(t *testing.T) {
	sound := testProfile(t)
	for _, b := range [][]byte{nil, sound[:len(sound)/2], []byte("no gzip")} {
		if _, err := readProfile(b); !errors.Is(err, errProfile) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}
