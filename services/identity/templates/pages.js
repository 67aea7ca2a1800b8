// Signs in and enrols with passkeys. Forms for it stay hidden where the browser has none.
"use strict";
(() => {
  const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const plain = (credential) => {
    const r = credential.response;
    const response = { clientDataJSON: encode(r.clientDataJSON) };
    if (r.attestationObject) {
      response.attestationObject = encode(r.attestationObject);
      response.transports = r.getTransports ? r.getTransports() : [];
    } else {
      response.authenticatorData = encode(r.authenticatorData);
      response.signature = encode(r.signature);
      response.userHandle = r.userHandle ? encode(r.userHandle) : null;
    }
    return JSON.stringify({ id: credential.id, rawId: encode(credential.rawId), type: credential.type, response, extensions: credential.getClientExtensionResults() });
  };

  const ask = async (form, purpose) => {
    const body = new URLSearchParams({ csrf: form.elements.csrf.value, purpose });
    const answer = await fetch("/login/passkey/challenge", { method: "POST", body, credentials: "same-origin" });
    if (!answer.ok) throw new Error("challenge " + answer.status);
    const { publicKey } = await answer.json();
    publicKey.challenge = decode(publicKey.challenge);
    for (const one of publicKey.allowCredentials || publicKey.excludeCredentials || []) one.id = decode(one.id);
    if (publicKey.user) {
      publicKey.user.id = decode(publicKey.user.id);
      return navigator.credentials.create({ publicKey });
    }
    return navigator.credentials.get({ publicKey });
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    if (!window.PublicKeyCredential || !navigator.credentials) continue;
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      const fault = form.querySelector("[data-fault]");
      fault.hidden = true;
      try {
        form.elements.credential.value = plain(await ask(form, form.dataset.passkey));
        form.submit();
      } catch (error) {
        console.warn(error);
        fault.hidden = false;
      }
    });
  }
})();
