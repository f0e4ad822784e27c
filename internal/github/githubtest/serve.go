package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := s.answer(r)
	answer(w)
}

// answer decides on the answer while nothing changes.
func (s *Server) answer(r *http.Request) func(http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	authorized := s.token != "" && r.Header.Get("Authorization") == "Bearer "+s.token
	s.requests = append(s.requests, Request{r.Method, r.URL.RequestURI(), authorized})
	if refusal := s.refusal(r, authorized); refusal != nil {
		return refusal
	}
	if answer := s.troubled(); answer != nil {
		return answer
	}
	parts := segments(r.URL)
	if len(parts) < 4 || parts[0] != "repos" {
		return notFound
	}
	name := parts[1] + "/" + parts[2]
	if to, ok := s.renamed[strings.ToLower(name)]; ok {
		return moved(r, name, to)
	}
	repo := s.repositories[strings.ToLower(name)]
	if repo == nil {
		return notFound
	}
	return s.resource(call{r, name, repo, parts[3:]})
}

// refusal is what GitHub says to a request that is not as it asks.
func (s *Server) refusal(r *http.Request, authorized bool) func(http.ResponseWriter) {
	no := func(status int, message string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { refuse(w, status, message, "rest") }
	}
	switch {
	case r.Header.Get("User-Agent") == "":
		return no(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
	case r.Header.Get("Authorization") != "" && !authorized:
		return no(http.StatusUnauthorized, "Bad credentials")
	case s.token != "" && !authorized:
		return no(http.StatusUnauthorized, "Requires authentication")
	case r.Header.Get("X-Github-Api-Version") != "2022-11-28":
		return no(http.StatusBadRequest, "X-GitHub-Api-Version is not supported")
	case !strings.HasPrefix(r.Header.Get("Accept"), "application/vnd.github"):
		return no(http.StatusUnsupportedMediaType, "Must accept 'application/json'")
	case r.Method != http.MethodGet:
		return notFound
	}
	return nil
}

// call is a request for something of a repository.
type call struct {
	*http.Request
	name  string
	repo  *repository
	parts []string
}

func (s *Server) resource(c call) func(http.ResponseWriter) {
	p := c.parts
	switch {
	case len(p) == 3 && p[0] == "commits" && p[2] == "check-runs":
		return s.permitted("checks", c.checkRuns)
	case len(p) == 3 && p[0] == "commits" && p[2] == "status":
		return s.permitted("statuses", c.status)
	case len(p) == 4 && p[0] == "actions" && p[1] == "runs" && p[3] == "approvals":
		return s.permitted("actions", c.approvals)
	case len(p) == 2 && p[0] == "compare":
		return s.permitted("contents", c.compare)
	case len(p) >= 2 && p[0] == "branches":
		return s.permitted("contents", c.branch)
	case len(p) >= 2 && p[0] == "contents":
		return s.permitted("contents", c.contents)
	}
	return notFound
}

// permitted asks whether the token has the permission.
func (s *Server) permitted(permission string, answer func() func(http.ResponseWriter)) func(http.ResponseWriter) {
	if s.denied[permission] {
		return func(w http.ResponseWriter) {
			w.Header().Set("X-Accepted-Github-Permissions", permission+"=read")
			refuse(w, http.StatusForbidden, "Resource not accessible by integration", "rest")
		}
	}
	return answer()
}

func (c call) checkRuns() func(http.ResponseWriter) {
	commit := c.repo.commits[c.parts[1]]
	if commit == nil {
		return noCommit(c.parts[1])
	}
	type key struct {
		suite int
		name  string
	}
	seen := map[key]bool{}
	var list []shaped
	for _, run := range slices.Backward(commit.runs) {
		if name := c.FormValue("check_name"); name != "" && name != run.Name || seen[key{run.Suite, run.Name}] {
			continue
		}
		seen[key{run.Suite, run.Name}] = c.FormValue("filter") != "all"
		list = append(list, run)
	}
	page, link := c.page(list)
	return reply(link, map[string]any{"total_count": len(list), "check_runs": page})
}

func (c call) status() func(http.ResponseWriter) {
	commit := c.repo.commits[c.parts[1]]
	if commit == nil {
		return noCommit(c.parts[1])
	}
	seen := map[string]bool{}
	var list []shaped
	for _, s := range slices.Backward(commit.statuses) {
		if !seen[s.context] {
			seen[s.context] = true
			list = append(list, s)
		}
	}
	page, link := c.page(list)
	return reply(link, shape("combined_status", map[string]any{"sha": c.parts[1], "statuses": page, "total_count": len(list)}))
}

func (c call) approvals() func(http.ResponseWriter) {
	list, ok := c.repo.runs[c.parts[2]]
	if !ok {
		return notFound
	}
	return reply("", append([]any{}, list...)) // GitHub has no pages of it
}

func (c call) compare() func(http.ResponseWriter) {
	status, ok := c.repo.comparisons[c.parts[1]]
	if !ok {
		return notFound
	}
	base, _, _ := strings.Cut(c.parts[1], "...")
	return reply("", comparison(base, status))
}

func (c call) branch() func(http.ResponseWriter) {
	name := strings.Join(c.parts[1:], "/")
	id, ok := c.repo.refs["refs/heads/"+name]
	if !ok {
		return func(w http.ResponseWriter) {
			refuse(w, http.StatusNotFound, "Branch not found", "rest/branches/branches#get-a-branch")
		}
	}
	return reply("", branch(name, id, c.repo.protected[name]))
}

func (c call) contents() func(http.ResponseWriter) {
	path := strings.Join(c.parts[1:], "/")
	commit := c.repo.commits[c.at(c.FormValue("ref"))]
	if commit == nil {
		return func(w http.ResponseWriter) {
			refuse(w, http.StatusNotFound, "No commit found for the ref "+c.FormValue("ref"), "v3/repos/contents/")
		}
	}
	if raw, ok := commit.files[path]; ok {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
			_, _ = w.Write(raw)
		}
	}
	for file := range commit.files {
		if strings.HasPrefix(file, path+"/") {
			return reply("", []any{map[string]any{"type": "file", "path": file}})
		}
	}
	return notFound
}

// at is the commit of a ref as git finds it: of a tag and a branch by one name, the
// tag's.
func (c call) at(ref string) string {
	for _, full := range []string{ref, "refs/tags/" + ref, "refs/heads/" + ref} {
		if id, ok := c.repo.refs[full]; ok {
			return id
		}
	}
	return ref
}

// shaped is what a list of a commit has.
type shaped interface {
	shape(repo, sha string) any
}

// page cuts a list as the query asks, and links to the next page.
func (c call) page(list []shaped) (page []any, link string) {
	size := number(c.FormValue("per_page"), 30, 100)
	at := number(c.FormValue("page"), 1, 1<<20)
	from, to := min((at-1)*size, len(list)), min(at*size, len(list))
	page = []any{}
	for _, item := range list[from:to] {
		page = append(page, item.shape(c.name, c.parts[1]))
	}
	if to == len(list) {
		return page, ""
	}
	u := *c.URL
	query := u.Query()
	query.Set("page", strconv.Itoa(at+1))
	u.RawQuery = query.Encode()
	next := "https://api.github.com" + u.RequestURI()
	query.Set("page", strconv.Itoa((len(list)+size-1)/size))
	u.RawQuery = query.Encode()
	return page, fmt.Sprintf(`<%s>; rel="next", <%s>; rel="last"`, next, "https://api.github.com"+u.RequestURI())
}

func number(text string, otherwise, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return otherwise
	}
	return min(n, most)
}

func reply(link string, body any) func(http.ResponseWriter) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-Github-Media-Type", "github.v3; format=json")
		w.Header().Set("X-Ratelimit-Limit", "1000")
		w.Header().Set("X-Ratelimit-Remaining", "987")
		if link != "" {
			w.Header().Set("Link", link)
		}
		_, _ = w.Write(raw)
	}
}

func notFound(w http.ResponseWriter) { refuse(w, http.StatusNotFound, "Not Found", "rest") }

func noCommit(sha string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		refuse(w, http.StatusUnprocessableEntity, "No commit found for SHA: "+sha, "rest/checks/runs#list-check-runs-for-a-git-reference")
	}
}

// moved leads to a repository's new name.
func moved(r *http.Request, from, to string) func(http.ResponseWriter) {
	target := "http://" + r.Host + strings.Replace(r.URL.RequestURI(), "/repos/"+from, "/repos/"+to, 1)
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", target)
		refuse(w, http.StatusMovedPermanently, "Moved Permanently", "v3/#http-redirects")
	}
}

func segments(u *url.URL) []string {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil {
			parts[i] = plain
		}
	}
	return parts
}
