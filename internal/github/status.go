package github

import (
	"context"
	"time"
)

// statuses is a page of
// https://docs.github.com/rest/commits/statuses#get-the-combined-status-for-a-specific-reference
// It has the latest status of each context.
type statuses struct {
	Commit   string `json:"sha"`
	Statuses *[]struct {
		ID      int64      `json:"id"`
		Context string     `json:"context"`
		State   string     `json:"state"`
		URL     *string    `json:"target_url"`
		Updated *time.Time `json:"updated_at"`
	} `json:"statuses"`
}

// statuses reads the commit statuses that were asked for.
func (s *search) statuses(ctx context.Context) (found []check, err error) {
	q := s.question("read the commit statuses at ", "/status")
	err = s.client.pages(ctx, q, func(body []byte) error {
		page, err := readStatuses(body, s.commit)
		found = append(found, s.named(page)...)
		return err
	})
	return found, err
}

func readStatuses(body []byte, commit string) (list []check, err error) {
	page, err := decode[statuses](body)
	if err != nil {
		return nil, err
	}
	if page.Commit != commit || page.Statuses == nil {
		return nil, misshapen("a list of commit statuses has no statuses, or is not of the commit")
	}
	for _, s := range *page.Statuses {
		if s.Context == "" || s.State == "" {
			return nil, misshapen("a commit status has no context or no state")
		}
		c := check{id: s.ID, began: timeOf(s.Updated)}
		c.Check = Check{Name: s.Context, State: statusState(s.State), Detail: plain(s.State, maxWord)}
		if s.URL != nil {
			c.URL = shownURL(*s.URL)
		}
		list = append(list, c)
	}
	return list, nil
}

func statusState(word string) CheckState {
	switch word {
	case "success":
		return Passed
	case "pending":
		return Running
	}
	return Failed // failure, error
}
