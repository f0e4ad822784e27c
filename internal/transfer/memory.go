package transfer

import (
	"context"
	"sync"
)

// memory keeps what was asked once, by whoever asked first; the others wait for
// the answer. A failure is not kept: who asks after it asks anew.
type memory[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*question[V]
}

type question[V any] struct {
	done   chan struct{}
	answer V
	err    error
}

func newMemory[K comparable, V any]() *memory[K, V] {
	return &memory[K, V]{all: map[K]*question[V]{}}
}

// ask returns what is remembered of a key, or asks.
func (m *memory[K, V]) ask(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	q, mine := m.question(key)
	if mine {
		q.answer, q.err = ask(ctx)
		if q.err != nil {
			m.forget(key)
		}
		close(q.done)
		return q.answer, q.err
	}
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		var none V
		return none, context.Cause(ctx)
	}
}

func (m *memory[K, V]) question(key K) (q *question[V], mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.all[key]; q != nil {
		return q, false
	}
	q = &question[V]{done: make(chan struct{})}
	m.all[key] = q
	return q, true
}

func (m *memory[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
}
