-- Certificates for tests, made afresh with openssl in a temporary folder. Each is a table {cert = file, key = file}.

local rig = require "spec.support.rig"

local certs = {}

local subjects = {
  right = "DNS:localhost,IP:127.0.0.1",
  wrong_name = "DNS:elsewhere.example",
}

local function openssl(...)
  local code, _, err = rig.run { "openssl", ... }
  if code ~= 0 then error("openssl " .. (...) .. ": " .. tostring(err), 0) end
end

local function authority(folder, name)
  local key, cert = folder .. "/" .. name .. ".key", folder .. "/" .. name .. ".crt"
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
    "-out", cert, "-subj", "/CN=" .. name, "-days", "30", "-addext", "basicConstraints=critical,CA:true", "-addext",
    "keyUsage=critical,keyCertSign,cRLSign")
  return { cert = cert, key = key }
end

local function issue(folder, name, ca, names, days)
  local stem = folder .. "/" .. name
  rig.write(stem .. ".ext", "basicConstraints=critical,CA:false\nsubjectAltName=" .. names
    .. "\nextendedKeyUsage=serverAuth,clientAuth\n")
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", stem .. ".key",
    "-out", stem .. ".csr", "-subj", "/CN=" .. name)
  openssl("x509", "-req", "-in", stem .. ".csr", "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial",
    "-days", tostring(days), "-extfile", stem .. ".ext", "-out", stem .. ".crt")
  return { cert = stem .. ".crt", key = stem .. ".key" }
end

-- ca: the authority's certificate file. server, client: good ones. expired, wrong_name: servers that must be refused.
-- expired_client, stranger: clients that must be refused; other_ca: an authority that signed none of the above but
-- `stranger`.
function certs.make()
  local folder = rig.tempdir()
  local ca, other = authority(folder, "ca"), authority(folder, "other-ca")
  return {
    ca = ca.cert,
    other_ca = other.cert,
    server = issue(folder, "server", ca, subjects.right, 30),
    expired = issue(folder, "expired", ca, subjects.right, -1),
    wrong_name = issue(folder, "wrong-name", ca, subjects.wrong_name, 30),
    client = issue(folder, "client", ca, subjects.right, 30),
    expired_client = issue(folder, "expired-client", ca, subjects.right, -1),
    stranger = issue(folder, "stranger", other, subjects.right, 30),
  }
end

return certs
