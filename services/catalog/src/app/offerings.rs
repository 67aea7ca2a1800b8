//! What can be had, and the document an instance is made from.

use std::collections::BTreeMap;

use gantry_kernel::{Problem, Result};
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::domain::instance::Request;
use crate::domain::offering::{Offering, Plan};

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PlanView {
    pub name: String,
    pub description: String,
    /// JSON Schema of the parameters.
    pub parameters: Value,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OfferingView {
    pub name: String,
    pub title: String,
    pub description: String,
    pub category: String,
    pub tags: Vec<String>,
    pub plans: Vec<PlanView>,
}

impl From<&Offering> for OfferingView {
    fn from(offering: &Offering) -> Self {
        let parameters = serde_json::to_value(&offering.parameters).unwrap_or_default();
        let plan = |plan: &Plan| PlanView { name: plan.name.to_string(), description: plan.description.clone(), parameters: parameters.clone() };
        Self {
            name: offering.name.to_string(),
            title: offering.title.clone(),
            description: offering.description.clone(),
            category: offering.category.clone(),
            tags: offering.tags.clone(),
            plans: offering.plans.iter().map(plan).collect(),
        }
    }
}

impl App {
    /// # Errors
    /// There is none of that name.
    pub fn offering(&self, name: &str) -> Result<&Offering> {
        self.offerings.iter().find(|o| o.name.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = self.offerings.iter().map(|o| o.name.as_str()).collect();
            Problem::invalid("offering", format!("there is no offering `{name}`; there are: {}", known.join(", ")))
        })
    }

    /// Document and values for the scheduler; `None` if the offering or plan is gone.
    ///
    /// # Errors
    /// When the password cannot be read.
    pub async fn document(&self, request: &Request) -> anyhow::Result<Option<(String, BTreeMap<String, String>)>> {
        let Some((offering, plan)) = self.offering(&request.offering).ok().and_then(|o| Some((o, o.plan(&request.plan)?))) else { return Ok(None) };
        let password = if offering.password { self.password(request).await? } else { String::new() };
        let parameters = request.parameters.as_object().cloned().unwrap_or_default();
        let image = parameters.get("image").and_then(Value::as_str).map_or_else(|| self.image_of(offering), str::to_owned);
        Ok(Some((offering.compose.clone(), offering.values(plan, &parameters, &image, request.name.as_str(), &password))))
    }

    fn image_of(&self, offering: &Offering) -> String {
        self.images.get(offering.name.as_str()).cloned().unwrap_or_else(|| format!("{}/{}", self.image_prefix, offering.image))
    }
}
