package regtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Converse is what a registry in a process of its own says to the one that started it: its address as the first line,
// and an answer in one line of JSON to each line of these that it reads. It returns at the end of in.
//
//	authority    the PEM of its authority, empty without TLS
//	connections  the Connections so far
//	requests     the log of Requests so far; it and the connections begin anew
func (r *Registry) Converse(in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, r.Host()); err != nil {
		return fmt.Errorf("print address: %w", err)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer := r.answer(lines.Text())
		if answer == nil {
			continue
		}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return fmt.Errorf("print %s: %w", lines.Text(), err)
		}
	}
	return lines.Err()
}

func (r *Registry) answer(question string) any {
	switch question {
	case "authority":
		return string(r.CAPEM())
	case "connections":
		return r.Connections()
	case "requests":
		defer r.ResetRequests()
		return r.Requests()
	}
	return nil
}
