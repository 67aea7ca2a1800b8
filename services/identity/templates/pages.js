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

  // The captcha without a picture: some work, done while the person types.
  const zeros = (bytes) => {
    let all = 0;
    for (const byte of bytes) {
      all += Math.clz32(byte) - 24;
      if (byte) break;
    }
    return all;
  };
  const work = async (token, bits) => {
    const text = new TextEncoder();
    for (let nonce = 0; ; nonce++) {
      const hash = await crypto.subtle.digest("SHA-256", text.encode(`${token}:${nonce}`));
      if (zeros(new Uint8Array(hash)) >= bits) return String(nonce);
    }
  };
  for (const field of document.querySelectorAll("input[data-work]")) {
    const form = field.form;
    form.querySelector("[data-picture]").hidden = true;
    const done = work(form.elements.captcha.value, Number(field.dataset.work));
    form.addEventListener("submit", async (event) => {
      if (field.value) return;
      event.preventDefault();
      field.value = await done;
      form.submit();
    });
  }

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
