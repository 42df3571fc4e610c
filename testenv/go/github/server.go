package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

type object = map[string]any

// state is everything that is kept. Numbers of pull requests are the keys of heads and reviews.
type state struct {
	Heads    map[string]string   `json:"heads"`
	Reviews  map[string][]object `json:"reviews"`
	Comments []*comment          `json:"comments"`
	Checks   []*check            `json:"checks"`
	Teams    map[string][]string `json:"teams"`
	Refs     map[string]string   `json:"refs"`
	Commits  map[string]object   `json:"commits"`
	Trees    map[string]object   `json:"trees"`
	Pulls    []object            `json:"pulls"`
	Requests []string            `json:"requests"`
}

type comment struct {
	ID   int    `json:"id"`
	Pull string `json:"pull"`
	User string `json:"user"`
	Body string `json:"body"`
}

type check struct {
	ID          int      `json:"id"`
	HeadSHA     string   `json:"head_sha"`
	Name        string   `json:"name"`
	Status      string   `json:"status"`
	Conclusion  string   `json:"conclusion"`
	Title       string   `json:"title"`
	Summary     string   `json:"summary"`
	Text        string   `json:"text"`
	Annotations []object `json:"annotations"`
}

type fault struct {
	Match   string            `json:"match"`
	Status  int               `json:"status"`
	Times   int               `json:"times"`
	Headers map[string]string `json:"headers"`
}

type server struct {
	mutex  sync.Mutex
	mux    *http.ServeMux
	shapes *shapes
	public string
	state  state
	faults []*fault
}

func newServer(shapes *shapes, public string) *server {
	s := &server{mux: http.NewServeMux(), shapes: shapes, public: public}
	s.state = state{Heads: map[string]string{}, Reviews: map[string][]object{}, Teams: map[string][]string{}, Refs: map[string]string{}, Commits: map[string]object{}, Trees: map[string]object{}}
	handlers := map[string]func(*request) (int, any){
		"GET /repos/{owner}/{repo}/pulls/{number}":            s.getPull,
		"GET /repos/{owner}/{repo}/pulls/{number}/reviews":    s.listReviews,
		"GET /repos/{owner}/{repo}/issues/{number}/comments":  s.listComments,
		"POST /repos/{owner}/{repo}/issues/{number}/comments": s.createComment,
		"PATCH /repos/{owner}/{repo}/issues/comments/{id}":    s.updateComment,
		"DELETE /repos/{owner}/{repo}/issues/comments/{id}":   s.deleteComment,
		"POST /repos/{owner}/{repo}/check-runs":               s.createCheck,
		"PATCH /repos/{owner}/{repo}/check-runs/{id}":         s.updateCheck,
		"GET /orgs/{org}/teams/{team}/memberships/{user}":     s.membership,
		"GET /repos/{owner}/{repo}/git/ref/{ref...}":          s.getRef,
		"GET /repos/{owner}/{repo}/git/commits/{sha}":         s.getCommit,
		"POST /repos/{owner}/{repo}/git/trees":                s.createTree,
		"POST /repos/{owner}/{repo}/git/commits":              s.createCommit,
		"POST /repos/{owner}/{repo}/git/refs":                 s.createRef,
		"PATCH /repos/{owner}/{repo}/git/refs/{ref...}":       s.updateRef,
		"GET /repos/{owner}/{repo}/pulls":                     s.listPulls,
		"POST /repos/{owner}/{repo}/pulls":                    s.createPull,
	}
	for pattern, wanted := range permissions {
		s.mux.HandleFunc(pattern, s.guarded(wanted, handlers[pattern]))
	}
	s.mux.HandleFunc("GET /_state", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.state) })
	s.mux.HandleFunc("POST /_seed", func(w http.ResponseWriter, r *http.Request) {
		// Maps are added to; so are comments, of which other tests may have made some meanwhile.
		comments := s.state.Comments
		s.state.Comments = nil
		err := json.NewDecoder(r.Body).Decode(&s.state)
		s.state.Comments = append(comments, s.state.Comments...)
		if err != nil {
			answer(w, http.StatusBadRequest, object{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, object{})
	})
	s.mux.HandleFunc("POST /_fault", func(w http.ResponseWriter, r *http.Request) {
		next := &fault{}
		if err := json.NewDecoder(r.Body).Decode(next); err != nil {
			answer(w, http.StatusBadRequest, object{"message": err.Error()})
			return
		}
		s.faults = append(s.faults, next)
		answer(w, http.StatusOK, object{})
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.mux.ServeHTTP(w, r)
}

// request is one that may be done.
type request struct {
	*http.Request
	token token
	body  object
	more  string
}

func (s *server) guarded(wanted []string, handle func(*request) (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.URL.Path
		s.state.Requests = append(s.state.Requests, line)
		for _, fault := range s.faults {
			if fault.Times > 0 && strings.HasPrefix(line, fault.Match) {
				fault.Times--
				for name, value := range fault.Headers {
					w.Header().Set(name, value)
				}
				answer(w, fault.Status, object{"message": "a fault that a test asked for"})
				return
			}
		}
		by, found := tokenOf(r)
		if !found {
			answer(w, http.StatusUnauthorized, object{"message": "Requires authentication"})
			return
		}
		if !by.may(wanted) {
			answer(w, http.StatusForbidden, object{"message": "Resource not accessible by integration", "documentation_url": "https://docs.github.com/rest"})
			return
		}
		asked := &request{Request: r, token: by, body: object{}}
		if r.Method != http.MethodGet && r.ContentLength != 0 {
			if err := json.NewDecoder(r.Body).Decode(&asked.body); err != nil {
				answer(w, http.StatusBadRequest, object{"message": err.Error()})
				return
			}
		}
		status, body := handle(asked)
		if asked.more != "" {
			w.Header().Set("Link", asked.more)
		}
		if body == nil {
			w.WriteHeader(status)
			return
		}
		answer(w, status, body)
	}
}

// page cuts a list as per_page and page say, and links to the next one.
func page[T any](s *server, r *request, all []T) []T {
	number := func(name string, usual int) int {
		if value, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && value > 0 {
			return value
		}
		return usual
	}
	size, at := min(number("per_page", 30), 100), number("page", 1)
	from, to := min((at-1)*size, len(all)), min(at*size, len(all))
	if to < len(all) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(at+1))
		r.more = fmt.Sprintf("<%s%s?%s>; rel=\"next\"", s.public, r.URL.Path, query.Encode())
	}
	return all[from:to]
}

func (s *server) user(login string) object {
	kind := "User"
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	return s.shapes.of("simple-user", object{"login": login, "type": kind})
}

func text(body object, name string) string {
	value, _ := body[name].(string)
	return value
}

func sha(value any) string {
	encoded, _ := json.Marshal(value)
	sum := sha1.Sum(encoded)
	return hex.EncodeToString(sum[:])
}

func missing() (int, any) { return http.StatusNotFound, object{"message": "Not Found"} }

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
