package cluster

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestKeypairRoundTrip(t *testing.T) {
	k := signer(1)
	b := FormatKeypair(k)
	got, err := ParseKeypair(b)
	if err != nil || !got.Equal(k) {
		t.Fatalf("%v", err)
	}
	if !bytes.HasPrefix(b, []byte{'['}) || bytes.ContainsAny(b, " \n") || bytes.Count(b, []byte{','}) != 63 {
		t.Errorf("not as solana-keygen writes it: %d bytes", len(b))
	}
	spaced := " [ " + strings.ReplaceAll(string(b[1:len(b)-1]), ",", " ,\n") + "]\n"
	if got, err := ParseKeypair([]byte(spaced)); err != nil || !got.Equal(k) {
		t.Errorf("with blanks: %v", err)
	}
}

func TestParseKeypairRefuses(t *testing.T) {
	good := string(FormatKeypair(signer(1)))
	for name, s := range map[string]string{
		"nothing":                         "",
		"no JSON":                         "hello",
		"no list":                         `{"a":1}`,
		"the seed alone":                  "[" + strings.TrimSuffix(strings.Repeat("1,", 32), ",") + "]",
		"65 numbers":                      strings.Replace(good, "[", "[1,", 1),
		"a number above 255":              "[256" + good[strings.Index(good, ","):],
		"a negative number":               "[-1" + good[strings.Index(good, ","):],
		"a fraction":                      "[1.5" + good[strings.Index(good, ","):],
		"the public key of another":       strings.TrimSuffix(good, "]")[:strings.LastIndex(good, ",")] + ",1]",
		"too many bytes":                  strings.Repeat(" ", keypairFileMax) + good,
		"something behind the right list": good + "[]",
	} {
		_, err := ParseKeypair([]byte(s))
		if !errors.Is(err, ErrKeypair) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseKeypair(f *testing.F) {
	f.Add(FormatKeypair(signer(1)))
	f.Add([]byte("[1,2,3]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeypair(b)
		if err != nil {
			return
		}
		if again, err := ParseKeypair(FormatKeypair(k)); err != nil || !again.Equal(k) {
			t.Error("keypair differs after a round trip")
		}
	})
}
