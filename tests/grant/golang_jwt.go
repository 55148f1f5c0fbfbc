// golang-jwt at the other end: verifies a grant. 0: yes; 3: golang-jwt says no; else something went wrong.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt"
)

func main() {
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var key interface{}
	algorithm := "ES256"
	if key, err = jwt.ParseECPublicKeyFromPEM(pem); err != nil {
		algorithm = "EdDSA"
		if key, err = jwt.ParseEdPublicKeyFromPEM(pem); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// The times are those of a test, not of today: 2026-11-20T04:12:01Z.
	jwt.TimeFunc = func() time.Time { return time.Unix(1795147921, 0) }
	parser := jwt.Parser{ValidMethods: []string{algorithm}, UseJSONNumber: true}
	claims := jwt.MapClaims{}
	token, err := parser.ParseWithClaims(os.Args[3], claims, func(*jwt.Token) (interface{}, error) { return key, nil })
	if err != nil || !claims.VerifyAudience(os.Args[2], true) || !claims.VerifyIssuer("https://"+os.Args[2], true) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"header": token.Header, "claims": claims})
}
