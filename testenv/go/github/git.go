package main

import "net/http"

func (s *server) ref(name, commit string) object {
	return s.shapes.of("git-ref", object{"ref": "refs/" + name, "object": object{"type": "commit", "sha": commit, "url": "https://github.example/"}})
}

func (s *server) getRef(r *request) (int, any) {
	name := unescape(r.PathValue("ref"))
	commit, found := s.state.Refs[name]
	if !found {
		return missing()
	}
	return http.StatusOK, s.ref(name, commit)
}

func (s *server) getCommit(r *request) (int, any) {
	commit, found := s.state.Commits[r.PathValue("sha")]
	if !found {
		return missing()
	}
	return http.StatusOK, s.commit(r.PathValue("sha"), commit)
}

func (s *server) commit(name string, values object) object {
	tree := object{"sha": text(values, "tree"), "url": "https://github.example/"}
	return s.shapes.of("git-commit", object{"sha": name, "tree": tree, "message": text(values, "message")})
}

func (s *server) createTree(r *request) (int, any) {
	name := sha(r.body)
	s.state.Trees[name] = r.body
	return http.StatusCreated, object{"sha": name, "truncated": false, "tree": []any{}, "url": "https://github.example/"}
}

func (s *server) createCommit(r *request) (int, any) {
	if _, found := s.state.Trees[text(r.body, "tree")]; !found {
		return missing()
	}
	name := sha(r.body)
	s.state.Commits[name] = r.body
	return http.StatusCreated, s.commit(name, r.body)
}

func (s *server) createRef(r *request) (int, any) {
	name := text(r.body, "ref")[len("refs/"):]
	if _, found := s.state.Refs[name]; found {
		return http.StatusUnprocessableEntity, object{"message": "Reference already exists"}
	}
	s.state.Refs[name] = text(r.body, "sha")
	return http.StatusCreated, s.ref(name, text(r.body, "sha"))
}

func (s *server) updateRef(r *request) (int, any) {
	name := unescape(r.PathValue("ref"))
	current, found := s.state.Refs[name]
	if !found {
		return missing()
	}
	parents, _ := s.state.Commits[text(r.body, "sha")]["parents"].([]any)
	if len(parents) != 1 || parents[0] != current {
		return http.StatusUnprocessableEntity, object{"message": "Update is not a fast forward"}
	}
	s.state.Refs[name] = text(r.body, "sha")
	return http.StatusOK, s.ref(name, text(r.body, "sha"))
}
