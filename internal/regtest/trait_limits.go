package regtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// BodyLimit refuses larger bodies: with nginx's 413, or by closing the connection.
func BodyLimit(most int64, answers bool) Trait {
	does := "closes the connection on"
	if answers {
		does = "413 with nginx's HTML for"
	}
	return Trait{
		Name:   "small bodies",
		Does:   fmt.Sprintf("%s a body above %d KB", does, most>>10),
		Source: "cloudflare/serverless-registry#67; containers/podman#24919; https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size (1 MB)",
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			head, over := upTo(r, most)
			switch {
			case !over:
				r.Body = head
				next.ServeHTTP(w, r)
			case answers:
				w.Header().Set("Connection", "close")
				page(w, http.StatusRequestEntityTooLarge, "413 Request Entity Too Large")
			default:
				reset(w)
			}
		})),
	}
}

// upTo is a body of at most so many bytes, or says that it has more.
func upTo(r *http.Request, most int64) (body io.ReadCloser, over bool) {
	if r.ContentLength >= 0 {
		return r.Body, r.ContentLength > most
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return io.NopCloser(bytes.NewReader(text)), int64(len(text)) > most
}

// HeaderLimit refuses a request whose Authorization is longer, with nginx's 400 or with 431.
func HeaderLimit(most, status int) Trait {
	title := "400 Request Header Or Cookie Too Large"
	if status == http.StatusRequestHeaderFieldsTooLarge {
		title = "431 Request Header Fields Too Large"
	}
	return Trait{
		Name:   "short headers",
		Does:   fmt.Sprintf("%d for an `Authorization` above %d KB; a token for 100 repositories has 11", status, most>>10),
		Source: "regclient/regclient#797; openshift/oc#761",
		set: func(o *Options) {
			if o.Auth != nil {
				o.Auth.TokenBytes = 110
			}
		},
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if len(r.Header.Get("Authorization")) > most {
				page(w, status, title)
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// Retry is how an answer 429 says when to come again.
type Retry string

// The ways to say it.
const (
	RetrySeconds      Retry = "Retry-After in seconds"
	RetryDate         Retry = "Retry-After as a date"
	RetryEpoch        Retry = "Retry-After as an epoch"
	RetryMicroseconds Retry = "microseconds in the body"
	RetryHours        Retry = "Retry-After of hours"
)

// Throttled answers every n-th request with 429.
func Throttled(every int, retry Retry) Trait {
	return Trait{
		Name: "429, " + string(retry),
		Does: fmt.Sprintf("429 to one request in %d, %s", every, retry),
		Source: map[Retry]string{
			RetrySeconds:      "RFC 9110, section 10.2.3",
			RetryDate:         "RFC 9110, section 10.2.3",
			RetryEpoch:        "docker/hub-feedback#2459",
			RetryMicroseconds: "falcosecurity/plugins#1069",
			RetryHours:        "https://docs.docker.com/docker-hub/usage/",
		}[retry],
		layers: func() (layer, layer) {
			count := counter(every)
			return intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path == tokenPath || !count() {
					next.ServeHTTP(w, r)
					return
				}
				throttle(w, retry)
			}), nil
		},
	}
}

func throttle(w http.ResponseWriter, retry Retry) {
	message := "You have reached your pull rate limit."
	switch soon := time.Now().Add(time.Second); retry {
	case RetrySeconds:
		w.Header().Set("Retry-After", "1")
	case RetryDate:
		w.Header().Set("Retry-After", soon.UTC().Format(http.TimeFormat))
	case RetryEpoch:
		w.Header().Set("Retry-After", strconv.FormatInt(soon.Unix(), 10))
	case RetryMicroseconds:
		message = "retry-after: 804.236µs, allowed: 44000/minute"
	case RetryHours:
		w.Header().Set("Retry-After", "21600")
	}
	refuseWith(w, http.StatusTooManyRequests, wireError{"TOOMANYREQUESTS", message, nil})
}

// ChunkMinimum asks for chunks of at least that size, but for the last one.
func ChunkMinimum(least int64) Trait {
	return Trait{
		Name:   "large chunks",
		Does:   "answers `OCI-Chunk-Min-Length` to the POST of an upload, and 400 to a chunk that is smaller and followed by another",
		Source: "https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks",
		layers: func() (layer, layer) {
			short := newSet()
			return nil, intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				switch {
				case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/blobs/uploads/"):
					w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(least, 10))
				case r.Method == http.MethodPatch && short.has(r.URL.Path):
					refuseWith(w, http.StatusBadRequest, wireError{"BLOB_UPLOAD_INVALID", "blob upload invalid", "a chunk before the last one is too small"})
					return
				case r.Method == http.MethodPatch && r.ContentLength >= 0 && r.ContentLength < least:
					short.add(r.URL.Path)
				}
				next.ServeHTTP(w, r)
			})
		},
	}
}

// MonolithicLimit refuses a blob that comes in one piece.
func MonolithicLimit(most int64) Trait {
	return Trait{
		Name:   "no large blob in one piece",
		Does:   fmt.Sprintf("400 to the PUT of a blob above %d MB in one piece; PATCH and PUT pass", most>>20),
		Source: "atlanhq/application-sdk#2020; kitops-ml/kitops#329",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			t, ok := parsePath(r.URL.Path)
			if ok && t.kind == "blobs" && r.Method == http.MethodPut && r.ContentLength > most {
				w.Header().Set("Connection", "close")
				refuseWith(w, http.StatusBadRequest, wireError{"BLOB_UPLOAD_INVALID", "blob upload invalid", nil})
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}
