package main

import (
	"testing"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
	"github.com/farewell-node/farewell/docs/recipes/internal/shoptest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

func TestSteps(t *testing.T) { shoptest.ExpectEveryStepLosesNothing(t) }
