package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

// slowRegistry answers slowSlots requests at the same time, each in two seconds. It queues further
// requests, or answers them with 429.
type slowRegistry struct {
	slots   chan struct{}
	refuses bool
	blob    []byte
	refused atomic.Int32
}

const (
	slowSlots  = 20
	slowAnswer = 2 * time.Second
)

func (s *slowRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.refuses {
		s.slots <- struct{}{}
	} else {
		select {
		case s.slots <- struct{}{}:
		default:
			s.refused.Add(1)
			status(http.StatusTooManyRequests)(w, r, nil)
			return
		}
	}
	time.Sleep(slowAnswer)
	<-s.slots
	if s.blob != nil {
		_, _ = w.Write(s.blob)
		return
	}
	manifestAnswer(w)
}

// TestSlowRegistry compares the time of a run at a slow registry with the shortest possible time.
// The client does not control its requests by latency: a queued request costs only its
// connection or stream, and a refused one narrows the width. Control by latency would have to be
// better than that.
func TestSlowRegistry(t *testing.T) {
	long(t)
	t.Parallel()
	for _, test := range []struct {
		name    string
		http2   bool
		blobs   bool
		refuses bool
		most    float64 // times the least
	}{
		{"questions over HTTP/2, queued", true, false, false, 1.1},
		{"questions over HTTP/1.1, queued", false, false, false, 1.4}, // 16 connections of 20 slots
		{"blobs, queued", false, true, false, 1.1},
		{"questions over HTTP/2, 429", true, false, true, 1.6},
		{"questions over HTTP/1.1, 429", false, false, true, 1.4},
		{"blobs, 429", false, true, true, 1.6},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &slowRegistry{refuses: test.refuses}
			if test.blobs {
				s.blob = content(smallBlob + 1)
			}
			const requests = 400
			least := requests / slowSlots * slowAnswer
			took := slowRun(t, s, test.http2, requests)
			times := took.Seconds() / least.Seconds()
			t.Logf("%d requests in %v, the least is %v: %.2f times; %d were refused", requests, took.Round(10*time.Millisecond), least, times, s.refused.Load())
			if times < 1 || times > test.most {
				t.Errorf("%.2f times the least, want at most %.1f", times, test.most)
			}
		})
	}
}

// slowRun makes requests at the same time, in virtual time.
func slowRun(t *testing.T, s *slowRegistry, http2 bool, requests int) (took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.slots = make(chan struct{}, slowSlots) // of the bubble
		network := regtest.NewPipes()
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!http2)
		protocols.SetUnencryptedHTTP2(http2)
		server := &http.Server{Handler: open200(s.ServeHTTP), ErrorLog: log.New(io.Discard, "", 0), Protocols: protocols}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(network)
		}()
		transport := wire.NewTransport(&tls.Config{}, network.DialContext, 0)
		transport.Protocols = protocols
		defer func() {
			transport.CloseIdleConnections()
			_ = server.Close()
			<-served
			time.Sleep(30 * time.Second)
		}()
		r := repository(t, New(Options{Transport: transport}), credential.Source, "127.0.0.1:5000/acme/app", Pull)
		if err := slowQuestion(t.Context(), r, s, requests); err != nil { // what is found out once is not measured
			t.Fatal(err)
		}
		s.refused.Store(0)
		began := time.Now()
		g, ctx := errgroup.WithContext(t.Context())
		for n := range requests {
			g.Go(func() error { return slowQuestion(ctx, r, s, n) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		took = time.Since(began)
	})
	return took
}

func slowQuestion(ctx context.Context, r *Repository, s *slowRegistry, n int) error {
	if s.blob == nil {
		_, err := r.GetManifest(ctx, fmt.Sprint("t", n))
		return err
	}
	body := r.OpenBlob(ctx, descriptor(s.blob))
	defer body.Close()
	_, err := io.Copy(io.Discard, body)
	return err
}
