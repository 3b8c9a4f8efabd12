//go:build faultybank

package bank

// FlipBit makes this bank wrong: from now on every block flips one bit of the
// lamports of an account that it writes. It exists to see the others notice.
var FlipBit bool

func injectFault(written []AccountDelta) {
	if !FlipBit {
		return
	}
	for i := range written {
		if written[i].New != nil {
			wrong := *written[i].New
			wrong.Lamports ^= 1
			written[i].New = &wrong
			return
		}
	}
}
