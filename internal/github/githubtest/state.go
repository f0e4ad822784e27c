package githubtest

import (
	"crypto/sha1" //nolint:gosec // git's digest
	"encoding/hex"
	"maps"
	"strings"
	"time"
)

// repository is what is known of one.
type repository struct {
	commits     map[string]*commit
	refs        map[string]string // refs/heads/main: commit
	protected   map[string]bool   // branches
	runs        map[string][]any  // approvals
	comparisons map[string]string
}

type commit struct {
	files    map[string][]byte
	runs     []checkRun // newest last, as the statuses
	statuses []status
}

// CheckRun is a check run. Those of one suite and name replace each other; a suite
// stands for one event of one app.
type CheckRun struct {
	Name       string
	Status     string // empty: completed
	Conclusion string // of a completed one
	Suite      int
	Began      time.Time // zero: a minute after the one before it
}

type checkRun struct {
	CheckRun
	id int
}

type status struct {
	id             int
	context, state string
}

// first is when the first thing happened.
var first = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func (s *Server) repository(name string) *repository {
	r := s.repositories[strings.ToLower(name)]
	if r == nil {
		r = &repository{map[string]*commit{}, map[string]string{}, map[string]bool{}, map[string][]any{}, map[string]string{}}
		s.repositories[strings.ToLower(name)] = r
	}
	return r
}

func (r *repository) commit(id string) *commit {
	c := r.commits[id]
	if c == nil {
		c = &commit{files: map[string][]byte{}}
		r.commits[id] = c
	}
	return c
}

// change makes a change to a repository, which need not be there yet.
func (s *Server) change(repo string, by func(*repository)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by(s.repository(repo))
}

// AddRepository makes a repository. Whatever else is said of one makes it too.
func (s *Server) AddRepository(repo string) { s.change(repo, func(*repository) {}) }

// AddCommit makes a commit that has no checks.
func (s *Server) AddCommit(repo, sha string) {
	s.change(repo, func(r *repository) { r.commit(sha) })
}

// SetFile puts a file at a ref: a branch, "refs/tags/…", or a commit. A branch and
// a tag get a new commit.
func (s *Server) SetFile(repo, ref, path string, raw []byte) {
	s.change(repo, func(r *repository) {
		id := ref
		if !isCommit(ref) {
			full := fullRef(ref)
			id = digest(repo, full, path, string(raw), r.refs[full])
			if before, ok := r.refs[full]; ok {
				maps.Copy(r.commit(id).files, r.commit(before).files)
			}
			r.refs[full] = id
		}
		r.commit(id).files[path] = raw
	})
}

// Protect protects a branch, which need not be there yet.
func (s *Server) Protect(repo, branch string) {
	s.change(repo, func(r *repository) {
		ref := "refs/heads/" + branch
		r.protected[branch] = true
		if r.refs[ref] == "" {
			r.refs[ref] = digest(repo, ref)
			r.commit(r.refs[ref])
		}
	})
}

// AddCheckRun adds a check run to a commit, the newest.
func (s *Server) AddCheckRun(repo, sha string, run CheckRun) {
	s.change(repo, func(r *repository) {
		s.made++
		if run.Status == "" {
			run.Status = "completed"
		}
		if run.Began.IsZero() {
			run.Began = first.Add(time.Duration(s.made) * time.Minute)
		}
		c := r.commit(sha)
		c.runs = append(c.runs, checkRun{run, s.made})
	})
}

// AddStatus adds a commit status: success, pending, failure or error. It replaces
// the one of the same context.
func (s *Server) AddStatus(repo, sha, context, state string) {
	s.change(repo, func(r *repository) {
		s.made++
		c := r.commit(sha)
		c.statuses = append(c.statuses, status{s.made, context, state})
	})
}

// AddRun makes a workflow run that nobody has reviewed.
func (s *Server) AddRun(repo, runID string) {
	s.change(repo, func(r *repository) { r.runs[runID] = append(r.runs[runID], []any{}...) })
}

// Approve adds a review of a run that waits for an environment: approved or
// rejected.
func (s *Server) Approve(repo, runID, environment, user, state string) {
	s.change(repo, func(r *repository) {
		s.made++
		r.runs[runID] = append(r.runs[runID], approval(repo, environment, user, state, s.made))
	})
}

// SetCompare says how head is related to base: ahead, behind, identical or
// diverged.
func (s *Server) SetCompare(repo, base, head, status string) {
	s.change(repo, func(r *repository) { r.comparisons[base+"..."+head] = status })
}

// Rename gives a repository another name. The old one leads there.
func (s *Server) Rename(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repositories[strings.ToLower(to)] = s.repository(from)
	delete(s.repositories, strings.ToLower(from))
	s.renamed[strings.ToLower(from)] = to
}

func fullRef(ref string) string {
	if strings.HasPrefix(ref, "refs/") {
		return ref
	}
	return "refs/heads/" + ref
}

func isCommit(ref string) bool {
	raw, err := hex.DecodeString(ref)
	return err == nil && len(raw) == sha1.Size
}

func digest(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(parts, "\x00"))) //nolint:gosec // git's digest
	return hex.EncodeToString(sum[:])
}
