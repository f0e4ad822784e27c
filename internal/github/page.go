package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

const (
	perPage  = 100 // GitHub's most
	maxPages = 20
)

// pages asks for a list page by page, and hands each to the reader. The pages are
// counted here: the server's links say only that there is another.
func (c *Client) pages(ctx context.Context, q question, read func(body []byte) error) error {
	query := url.Values{"per_page": {strconv.Itoa(perPage)}}
	for key, value := range q.query {
		query[key] = value
	}
	q.query = query
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		a, err := c.askJSON(ctx, q)
		if err != nil {
			return err
		}
		if err := read(a.body); err != nil {
			return c.fail(q, err)
		}
		if !hasNext(a.header) {
			return nil
		}
	}
	return c.fail(q, refusal(fmt.Sprintf("GitHub's list has more than %d pages of %d", maxPages, perPage)))
}

// askJSON returns an answer that says it is JSON. What stands between may answer a
// page of its own.
func (c *Client) askJSON(ctx context.Context, q question) (*answer, error) {
	q.accept, q.most = acceptJSON, maxJSON
	a, err := c.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if !a.isKind("application/json") {
		return nil, c.fail(q, refusal(fmt.Sprintf("the answer is %s, not JSON: is %s the GitHub API, and no proxy in between?",
			quote(a.header.Get("Content-Type"), 100), c.base.Host)))
	}
	return a, nil
}

var nextPattern = regexp.MustCompile(`<[^<>]*>[^,<>]*;\s*rel="?next"?`)

// hasNext reports whether the Link header has a next page (RFC 8288).
func hasNext(h http.Header) bool { return nextPattern.MatchString(h.Get("Link")) }

// decode reads JSON of a known shape.
func decode[T any](body []byte) (v T, err error) {
	if err := json.Unmarshal(body, &v); err != nil {
		return v, refusal("GitHub's answer is not as documented: " + quote(err.Error(), 200))
	}
	return v, nil
}

var errShape = errors.New("GitHub's answer is not as documented")

// misshapen is the error of an answer that lacks what it must have.
func misshapen(what string) error { return fmt.Errorf("%w: %s", errShape, what) }
