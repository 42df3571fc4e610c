package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// logins are what people do at an issuer: by browser (an authorization code with PKCE) and by a code for another device (RFC 8628).
//
//	GET  /auth?…&answer=ANSWER                  sends the browser back: with a code, or as ANSWER says (denied, other-state, other-nonce)
//	POST /device/code                           a code for a device
//	GET  /device?user_code=CODE&answer=ANSWER   what the person does: approve, approve-slowly, deny, expire
//	POST /token                                 a token for either
type logins struct {
	sync.Mutex
	issuer  *issuer
	codes   map[string]url.Values
	devices map[string]*device
}

// device is a code that somebody is to type in.
type device struct {
	userCode, answer string
	interval         time.Duration
	asked            time.Time
}

func (i *issuer) offerLogins() {
	l := &logins{issuer: i, codes: map[string]url.Values{}, devices: map[string]*device{}}
	i.HandleFunc("GET /auth", l.auth)
	i.HandleFunc("POST /device/code", l.deviceCode)
	i.HandleFunc("GET /device", l.typeIn)
	i.HandleFunc("POST /token", l.token)
}

// auth is the page on which a person logs in; whoever opens it is somebody.
func (l *logins) auth(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	back, err := url.Parse(asked.Get("redirect_uri"))
	if err != nil || back.Hostname() != "localhost" || asked.Get("client_id") != "sigstore" || asked.Get("response_type") != "code" ||
		asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") == "" {
		http.Error(w, "not a request that this issuer takes", http.StatusBadRequest)
		return
	}
	state := asked.Get("state")
	answer := url.Values{}
	switch asked.Get("answer") {
	case "denied":
		answer.Set("error", "access_denied")
		answer.Set("error_description", "not today")
	case "other-state":
		state = "of-another-login"
		fallthrough
	default:
		code := rand.Text()
		l.Lock()
		l.codes[code] = asked
		l.Unlock()
		answer.Set("code", code)
	}
	answer.Set("state", state)
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (l *logins) deviceCode(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("client_id") != "sigstore" || r.FormValue("scope") != "openid email" {
		refuse(w, "invalid_client")
		return
	}
	made, code := &device{userCode: rand.Text()[:8], interval: time.Second}, rand.Text()
	l.Lock()
	l.devices[code] = made
	l.Unlock()
	answer(w, map[string]any{
		"device_code": code, "user_code": made.userCode, "verification_uri": l.issuer.url + "/device",
		"expires_in": 120, "interval": int(made.interval / time.Second),
	})
}

// typeIn is the page on which a person types a code in. Somebody takes a while: the program has asked at least once, and was told to wait.
func (l *logins) typeIn(w http.ResponseWriter, r *http.Request) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if l.typed(r.FormValue("user_code"), r.FormValue("answer")) {
			answer(w, "thank you")
			return
		}
	}
	http.NotFound(w, r)
}

// typed is true if a program that has asked waits for this code.
func (l *logins) typed(code, answer string) bool {
	l.Lock()
	defer l.Unlock()
	for _, device := range l.devices {
		if device.userCode == code && !device.asked.IsZero() {
			device.answer = answer
			return true
		}
	}
	return false
}

func (l *logins) token(w http.ResponseWriter, r *http.Request) {
	l.Lock()
	defer l.Unlock()
	if r.FormValue("grant_type") != "authorization_code" {
		l.deviceToken(w, r)
		return
	}
	asked, known := l.codes[r.FormValue("code")]
	delete(l.codes, r.FormValue("code"))
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !known || r.FormValue("redirect_uri") != asked.Get("redirect_uri") || r.FormValue("client_id") != asked.Get("client_id") ||
		base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") {
		refuse(w, "invalid_grant")
		return
	}
	nonce := asked.Get("nonce")
	if asked.Get("answer") == "other-nonce" {
		nonce = "of-another-login"
	}
	l.hand(w, url.Values{"nonce": {nonce}})
}

func (l *logins) deviceToken(w http.ResponseWriter, r *http.Request) {
	device := l.devices[r.FormValue("device_code")]
	if device == nil || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" {
		refuse(w, "invalid_grant")
		return
	}
	// A little less than the interval: a timer may be early.
	early := !device.asked.IsZero() && time.Since(device.asked) < device.interval*9/10
	device.asked = time.Now()
	switch {
	case early:
		refuse(w, "invalid_request")
	case device.answer == "approve":
		l.hand(w, url.Values{})
	case device.answer == "approve-slowly":
		device.answer, device.interval = "approve", device.interval+5*time.Second
		refuse(w, "slow_down")
	case device.answer == "deny":
		refuse(w, "access_denied")
	case device.answer == "expire":
		refuse(w, "expired_token")
	default:
		refuse(w, "authorization_pending")
	}
}

// hand gives a token with these claims.
func (l *logins) hand(w http.ResponseWriter, claims url.Values) {
	token, err := l.issuer.mint(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": "of no use here", "token_type": "Bearer", "expires_in": 60, "id_token": token})
}

// refuse answers in the protocol's words.
func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	answer(w, map[string]any{"error": reason})
}
