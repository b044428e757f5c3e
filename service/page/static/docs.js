// Swagger UI for this service's OpenAPI document, without external requests.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // the default is an external host
});
