package main

import (
	"fmt"
	"net/http"
	"strconv"
)

// The largest text that GitHub takes as a comment.
const mostOfAComment = 65536

func (s *server) getPull(r *request) (int, any) {
	commit, found := s.state.Heads[r.PathValue("number")]
	if !found {
		return missing()
	}
	pull := s.shapes.of("pull-request", object{})
	pull["head"].(object)["sha"] = commit
	return http.StatusOK, pull
}

func (s *server) listReviews(r *request) (int, any) {
	reviews := []any{}
	for number, review := range page(s, r, s.state.Reviews[r.PathValue("number")]) {
		values := object{"id": number + 1, "user": s.user(text(review, "user")), "state": review["state"], "commit_id": review["commit_id"], "body": text(review, "body")}
		reviews = append(reviews, s.shapes.of("pull-request-review", values))
	}
	return http.StatusOK, reviews
}

func (s *server) shown(c *comment) object {
	return s.shapes.of("issue-comment", object{"id": c.ID, "body": c.Body, "user": s.user(c.User)})
}

func (s *server) listComments(r *request) (int, any) {
	of := []*comment{}
	for _, comment := range s.state.Comments {
		if comment.Pull == r.PathValue("number") {
			of = append(of, comment)
		}
	}
	comments := []any{}
	for _, comment := range page(s, r, of) {
		comments = append(comments, s.shown(comment))
	}
	return http.StatusOK, comments
}

func (s *server) createComment(r *request) (int, any) {
	body := text(r.body, "body")
	if len([]rune(body)) > mostOfAComment {
		return http.StatusUnprocessableEntity, object{"message": "body is too long"}
	}
	last := 0
	for _, comment := range s.state.Comments {
		last = max(last, comment.ID)
	}
	made := &comment{ID: last + 1, Pull: r.PathValue("number"), User: r.token.user, Body: body}
	s.state.Comments = append(s.state.Comments, made)
	return http.StatusCreated, s.shown(made)
}

func (s *server) find(r *request) int {
	for at, comment := range s.state.Comments {
		if strconv.Itoa(comment.ID) == r.PathValue("id") {
			return at
		}
	}
	return -1
}

func (s *server) updateComment(r *request) (int, any) {
	at := s.find(r)
	if at < 0 {
		return missing()
	}
	body := text(r.body, "body")
	if len([]rune(body)) > mostOfAComment {
		return http.StatusUnprocessableEntity, object{"message": "body is too long"}
	}
	s.state.Comments[at].Body = body
	return http.StatusOK, s.shown(s.state.Comments[at])
}

func (s *server) deleteComment(r *request) (int, any) {
	at := s.find(r)
	if at < 0 {
		return missing()
	}
	s.state.Comments = append(s.state.Comments[:at], s.state.Comments[at+1:]...)
	return http.StatusNoContent, nil
}

func (s *server) membership(r *request) (int, any) {
	for _, member := range s.state.Teams[r.PathValue("org")+"/"+r.PathValue("team")] {
		if member == r.PathValue("user") {
			return http.StatusOK, s.shapes.of("team-membership", object{"role": "member", "state": "active"})
		}
	}
	return missing()
}

// fill takes what a request says of a check run; GitHub adds annotations to those that are there, 50 at a time.
func (c *check) fill(body object) error {
	for name, into := range map[string]*string{"head_sha": &c.HeadSHA, "name": &c.Name, "status": &c.Status, "conclusion": &c.Conclusion} {
		if value := text(body, name); value != "" {
			*into = value
		}
	}
	output, _ := body["output"].(object)
	for name, into := range map[string]*string{"title": &c.Title, "summary": &c.Summary, "text": &c.Text} {
		if value := text(output, name); value != "" {
			*into = value
		}
		if len(*into) > 65535 {
			return fmt.Errorf("%s is too long", name)
		}
	}
	annotations, _ := output["annotations"].([]any)
	if len(annotations) > 50 {
		return fmt.Errorf("more than 50 annotations")
	}
	for _, annotation := range annotations {
		c.Annotations = append(c.Annotations, annotation.(object))
	}
	return nil
}

func (s *server) shownCheck(c *check) object {
	output := object{"title": c.Title, "summary": c.Summary, "text": c.Text, "annotations_count": len(c.Annotations), "annotations_url": "https://github.example/"}
	conclusion := any(nil)
	if c.Conclusion != "" {
		conclusion = c.Conclusion
	}
	return s.shapes.of("check-run", object{"id": c.ID, "head_sha": c.HeadSHA, "name": c.Name, "status": c.Status, "conclusion": conclusion, "output": output})
}

func (s *server) createCheck(r *request) (int, any) {
	made := &check{ID: len(s.state.Checks) + 1, Annotations: []object{}}
	if err := made.fill(r.body); err != nil {
		return http.StatusUnprocessableEntity, object{"message": err.Error()}
	}
	s.state.Checks = append(s.state.Checks, made)
	return http.StatusCreated, s.shownCheck(made)
}

func (s *server) updateCheck(r *request) (int, any) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(s.state.Checks) {
		return missing()
	}
	if err := s.state.Checks[id-1].fill(r.body); err != nil {
		return http.StatusUnprocessableEntity, object{"message": err.Error()}
	}
	return http.StatusOK, s.shownCheck(s.state.Checks[id-1])
}

func (s *server) listPulls(r *request) (int, any) {
	pulls := []any{}
	for _, pull := range s.state.Pulls {
		owner := r.PathValue("owner") + ":"
		if head := r.URL.Query().Get("head"); head == "" || head == owner+text(pull, "head") {
			pulls = append(pulls, s.shapes.of("pull-request-simple", object{"number": pull["number"], "html_url": pull["html_url"]}))
		}
	}
	return http.StatusOK, pulls
}

func (s *server) createPull(r *request) (int, any) {
	number := len(s.state.Pulls) + 1
	address := fmt.Sprintf("https://github.example/%s/%s/pull/%d", r.PathValue("owner"), r.PathValue("repo"), number)
	pull := object{"number": number, "html_url": address, "head": text(r.body, "head"), "base": text(r.body, "base"), "title": text(r.body, "title"), "body": text(r.body, "body")}
	s.state.Pulls = append(s.state.Pulls, pull)
	return http.StatusCreated, s.shapes.of("pull-request", object{"number": number, "html_url": address})
}
