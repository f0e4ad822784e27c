package referrer_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestAskFirst: the first question is about the subject that it is kept for, whoever wants to ask before; and others ask
// if that one never comes.
func TestAskFirst(t *testing.T) {
	for name, comes := range map[string]bool{"the question comes": true, "it never comes": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				r := regtest.Serve(t, regtest.Options{Memory: m, Referrers: true})
				root, _ := subject(t, r, 1)
				other := parse(t, "sha256:"+strings.Repeat("0", 64))
				client := registry.New(registry.Options{Dial: m.DialContext})
				defer client.Close()
				f := finderOf(t, client, r)
				release := f.AskFirst(root)
				done := make(chan error, 1)
				go func() {
					_, err := f.HasAPI(t.Context(), root) // that is not Find's question
					if err == nil {
						_, err = f.Find(t.Context(), other, false, nil)
					}
					done <- err
				}()
				synctest.Wait()
				if n := referrersAsked(r); len(n) > 0 {
					t.Errorf("asked %q before the first question", n)
				}
				if comes {
					if _, err := f.Find(t.Context(), root, true, nil); err != nil {
						t.Error(err)
					}
				}
				release()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if n := referrersAsked(r); len(n) != 2 || !strings.HasSuffix(n[0], root.String()) || !strings.HasSuffix(n[1], other.String()) {
					t.Errorf("asked %q", n)
				}
			})
		})
	}
}

// TestFirstAnswerIsShared: who looks for what is attached to a subject while the first question is about it does not ask
// again; who looks for what it has written does.
func TestFirstAnswerIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m, Referrers: true, Network: &regtest.Network{RTT: time.Second}})
		root, all := subject(t, r, 1)
		client := registry.New(registry.Options{Dial: m.DialContext})
		defer client.Close()
		f := finderOf(t, client, r)
		done := make(chan error, 1)
		go func() {
			_, err := f.HasAPI(t.Context(), root)
			done <- err
		}()
		synctest.Wait()
		if _, err := f.Find(t.Context(), root, true, nil); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := referrersAsked(r); len(n) != 1 {
			t.Errorf("asked %q", n)
		}
		if _, err := f.Missing(t.Context(), root, all); err != nil {
			t.Error(err)
		}
		if n := referrersAsked(r); len(n) != 2 {
			t.Errorf("asked %q", n)
		}
	})
}

// referrersAsked are the questions that the program put to the referrers API.
func referrersAsked(r *regtest.Registry) (paths []string) {
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent && strings.Contains(q.Path, "/referrers/") {
			paths = append(paths, q.Path)
		}
	}
	return paths
}
