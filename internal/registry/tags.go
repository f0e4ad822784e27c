package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// TagPage is how many tags are asked for at once.
const TagPage = 1000

const maxTagList = 1 << 20

// Tags lists the repository's tags, as far as one request gives them. It
// reports whether that is all of them. A repository that does not exist yet has
// none, and a registry that has no such list leaves that open.
func (r *Repository) Tags(ctx context.Context) (tags []string, all bool, err error) {
	c := r.call(http.MethodGet, "tags/list")
	c.url.RawQuery = url.Values{"n": {fmt.Sprint(TagPage)}}.Encode()
	c.limit = maxTagList
	a, err := r.session.send(ctx, c)
	if err != nil {
		return nil, false, r.fail("list tags", "", err)
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound: // of the repository, or of the list
		code, _ := diagnose(a)
		return nil, code == string(transport.NameUnknownErrorCode), nil
	default:
		return nil, false, r.refuse("list tags", "", a)
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return nil, false, r.fail("list tags", "", fmt.Errorf("read tag list: %w", err))
	}
	// A registry that pages may leave out Link on a page it cut itself.
	all = a.header.Get("Link") == "" && len(list.Tags) < TagPage
	return list.Tags, all, nil
}
