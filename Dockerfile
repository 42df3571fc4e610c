# The static binary and the certificate authorities, nothing else. Built by .github/workflows/release.yaml from a folder that holds both.
FROM scratch
ARG TARGETARCH
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ${TARGETARCH}/seatrial /usr/bin/seatrial
USER 65532:65532
ENTRYPOINT ["/usr/bin/seatrial"]
