package githubtest

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// shapes are answers as GitHub's documentation has them.
//
//go:embed shapes/*.json
var shapes embed.FS

// shape is one of them, with values of its own.
func shape(name string, values map[string]any) map[string]any {
	raw, err := shapes.ReadFile("shapes/" + name + ".json")
	if err != nil {
		panic(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		panic(name + ": " + err.Error())
	}
	for key, value := range values {
		if _, ok := object[key]; !ok {
			panic(name + " has no " + key)
		}
		object[key] = value
	}
	return object
}

func (c checkRun) shape(repo, sha string) any {
	values := map[string]any{
		"id": c.id, "name": c.Name, "head_sha": sha, "status": c.Status, "conclusion": nil,
		"url":        fmt.Sprintf("https://api.github.com/repos/%s/check-runs/%d", repo, c.id),
		"html_url":   fmt.Sprintf("https://github.com/%s/runs/%d", repo, c.id),
		"started_at": stamp(c.Began), "completed_at": nil,
		"check_suite": map[string]any{"id": 1000 + c.Suite},
	}
	if c.Status == "completed" {
		values["conclusion"], values["completed_at"] = c.Conclusion, stamp(c.Began.Add(time.Minute))
	}
	return shape("check_run", values)
}

func (s status) shape(repo, sha string) any {
	when := stamp(first.Add(time.Duration(s.id) * time.Minute))
	return shape("status", map[string]any{
		"id": s.id, "context": s.context, "state": s.state, "created_at": when, "updated_at": when,
		"url":        "https://api.github.com/repos/" + repo + "/statuses/" + sha,
		"target_url": "https://ci.example.com/" + url.PathEscape(s.context),
	})
}

func approval(repo, environment, user, state string, id int) any {
	object := shape("approval", map[string]any{"state": state})
	e := object["environments"].([]any)[0].(map[string]any)
	e["id"], e["name"] = id, environment
	e["url"] = "https://api.github.com/repos/" + repo + "/environments/" + url.PathEscape(environment)
	u := object["user"].(map[string]any)
	u["login"], u["id"] = user, id
	return object
}

func comparison(base, status string) any {
	object := shape("comparison", map[string]any{"status": status})
	object["base_commit"].(map[string]any)["sha"] = base
	return object
}

func branch(name, sha string, protected bool) any {
	object := shape("branch", map[string]any{"name": name, "protected": protected})
	object["commit"].(map[string]any)["sha"] = sha
	object["protection"].(map[string]any)["enabled"] = protected
	return object
}

func stamp(t time.Time) any { return t.UTC().Format(time.RFC3339) }
