package regtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Converse is what a registry in a process of its own says to the one that started it: its address as the first line,
// and for each line "requests" that it reads the log of requests so far as one line of JSON, which it then empties.
// It returns at the end of in.
func (r *Registry) Converse(in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, r.Host()); err != nil {
		return fmt.Errorf("print address: %w", err)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() != "requests" {
			continue
		}
		if err := json.NewEncoder(out).Encode(r.Requests()); err != nil {
			return fmt.Errorf("print requests: %w", err)
		}
		r.ResetRequests()
	}
	return lines.Err()
}
